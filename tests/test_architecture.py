"""What imports what, and what no file may do: read from the syntax tree of every file."""

import ast
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(ROOT, "src", "partial_fc")


def python_files(folder):
    names = (os.path.join(parent, name) for parent, _, files in os.walk(folder) for name in files)
    return sorted(name for name in names if name.endswith(".py"))


LIBRARY_FILES = [name for name in python_files(LIBRARY) if not os.path.islink(name)]
SYMBOL_FILES = python_files(os.path.join(ROOT, "symbol"))
FILES = LIBRARY_FILES + SYMBOL_FILES + [os.path.join(ROOT, name) for name in ("default.py", "unpack_glint360k.py")]
every_file = pytest.mark.parametrize("path", FILES, ids=[os.path.relpath(path, ROOT) for path in FILES])


def tree_of(path):
    with open(path, encoding="utf-8") as file:
        return ast.parse(file.read())


def package_of(path):
    """Dotted name of the package that a file's relative imports start from."""
    if path in SYMBOL_FILES:
        return "partial_fc.symbol"
    return os.path.dirname(os.path.relpath(path, os.path.dirname(LIBRARY))).replace(os.sep, ".")


def imports(path, tree=None):
    """Absolute names of the modules that a file imports anywhere, of the partial_fc ones with the imported name."""
    found = set()
    for node in ast.walk(tree or tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path).split(".") if node.level else []
            module = package[: len(package) - node.level + 1] + ([node.module] if node.module else [])
            if module[0] == "partial_fc":
                found |= {".".join(module + [alias.name]) for alias in node.names}
            else:
                found.add(".".join(module))
    return found


def outside(path):
    """Top-level names of what a file imports from elsewhere."""
    return {name.split(".")[0] for name in imports(path)} - {"partial_fc"}


def inside(name, tree=None):
    """Files (without .py) of the library that one of its files imports."""
    known, found = every_name(), set()
    for imported in imports(library_file(name), tree):
        parts = imported.split(".")
        if parts[0] == "partial_fc":
            candidates = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
            found.add(next((candidate for candidate in candidates if candidate in known), parts[1]))
    return found


def library_file(name):
    """Path of a file of the library by its dotted name, `data.batches`."""
    return os.path.join(LIBRARY, *name.split(".")) + ".py"


def every_name():
    """Dotted names of the library's own files."""
    return {os.path.relpath(path, LIBRARY)[:-3].replace(os.sep, ".") for path in LIBRARY_FILES}


def dotted(node):
    """`os.environ` for the expression of that name, None for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return f"{dotted(node.value)}.{node.attr}"
    return None


def calls(tree):
    return {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)} - {None}


def test_every_file_is_looked_at():
    assert {"train", "head", "data.batches", "eval.verification"} <= every_name()
    assert {os.path.basename(path) for path in SYMBOL_FILES} == {"__init__.py", "demo.py", "layers.py", "resnet.py"}


def test_only_collectives_knows_horovod_and_mpi4py():
    users = {os.path.relpath(path, ROOT) for path in FILES if outside(path) & {"horovod", "mpi4py"}}
    assert users == {os.path.join("src", "partial_fc", "collectives.py")}


def test_presets_import_easydict_only():
    assert imports(os.path.join(ROOT, "default.py")) == {"easydict"}


@pytest.mark.parametrize("path", SYMBOL_FILES, ids=os.path.basename)
def test_backbones_import_mxnet_and_each_other_only(path):
    assert outside(path) <= {"mxnet", "functools"}
    ours = {name for name in imports(path) if name.startswith("partial_fc")}
    assert all(name.startswith("partial_fc.symbol.") for name in ours)


def test_nothing_but_cli_imports_train():
    users = {name for name in every_name() if "train" in inside(name)}
    assert users == {"cli"}


def test_cli_imports_config_and_train_when_it_needs_it():
    at_import = ast.Module(
        [node for node in tree_of(library_file("cli")).body if isinstance(node, (ast.Import, ast.ImportFrom))], []
    )
    families = {"centers_command", "data.commands", "doctor.commands", "eval.commands"}
    more = {"argument_parser", "closed_pipe", "config", "errors", "__version__"}
    assert inside("cli", at_import) <= families | more
    assert inside("cli") <= families | more | {"train"}
    assert not outside(library_file("cli")) & {"mxnet", "numpy"}


@pytest.mark.parametrize("name, allowed", [
    ("train", every_name() - {"cli"} | {"symbol"}),
    ("module", {"batch_norm", "errors", "initializer", "monitor", "randomness", "head"}),
    ("batch_norm", {"errors"}),
    ("initializer", {"randomness"}),
    ("labels", {"errors"}),
    ("head", {
        "errors", "labels", "memory_bank", "margin_softmax", "parallel_softmax", "optimizer", "normalize", "workspace",
    }),
    ("workspace", set()),
    ("memory_bank", {"partition", "samplers", "randomness", "host_arrays", "limits"}),
    ("host_bank", {"memory_bank", "host_arrays"}),
    ("host_arrays", {"errors"}),
    ("plan", {"errors", "samplers"}),
    ("margin_softmax", set()),
    ("parallel_softmax", set()),
    ("optimizer", set()),
    ("partition", set()),
    ("samplers", set()),
    ("randomness", set()),
    ("lr_scheduler", set()),
    ("normalize", set()),
    ("errors", set()),
    ("files", {"errors"}),
    ("communicator", {"errors", "exchange"}),
    ("collectives", {"agreement", "communicator", "errors", "exchange", "hosts", "watch"}),
    ("exchange", {"errors"}),
    ("watch", {"addresses", "errors", "monitor", "printable"}),
    ("addresses", set()),
    ("symbol_file", {"errors", "files"}),
    ("monitor", set()),
    ("launch", {"config", "errors", "hosts", "launch_command", "limits", "printable", "restarts", "signals"}),
    ("launch_command", {"errors", "hosts"}),
    ("restarts", {"config", "errors", "hosts", "printable"}),
    ("hosts", {"errors"}),
    ("agreement", {"listed_names"}),
    ("checkpoint", {"errors", "files"}),
    ("saving", {
        "center_files", "checkpoint", "errors", "lock", "model_files", "partition", "plan", "progress", "run_folder",
        "signals", "versions",
    }),
    ("progress", {"checkpoint", "module"}),
    ("center_files", {"errors", "tensor_file"}),
    ("model_files", {"errors", "files", "params_file", "tensor_file"}),
    ("params_file", {"errors", "files"}),
    ("numpy_file", {"errors", "files"}),
    ("tensor_file", {"errors", "files"}),
    ("convert_centers", {
        "center_files", "errors", "files", "host_arrays", "lock", "memory_bank", "numpy_file", "params_file",
    }),
    ("label_map", {"errors", "listed_names", "number_rows"}),
    ("text_lists", {"errors"}),
    ("number_rows", {"errors", "text_lists"}),
    ("listed_names", {"errors", "printable", "text_lists"}),
    ("printable", set()),
    ("run_folder", {"config", "errors", "lock"}),
    ("lock", {"errors", "files", "lock_owner"}),
    ("lock_owner", set()),
    ("start", {"center_files", "checkpoint", "config", "errors", "model_files", "run_folder", "symbol"}),
    ("signals", set()),
    ("versions", {"__version__"}),
    ("config", {"argument_parser", "errors", "listed_names"}),
    ("argument_parser", {"printable"}),
    ("summary", {"config", "files", "printable"}),
    ("curves", {"files", "picture_labels"}),
    ("picture_labels", {"printable", "right_to_left"}),
    ("right_to_left", set()),
    ("callbacks", {"eval.verification", "files", "log_output", "module", "printable"}),
    ("input_rate", set()),
    ("device", {"errors"}),
    ("limits", {"errors", "printable"}),
    ("closed_pipe", set()),
    ("command_line", {"errors", "log_output", "printable"}),
    ("log_output", {"files", "printable"}),
])
def test_imports_point_one_way(name, allowed):
    assert inside(name) <= allowed


@pytest.mark.parametrize("folder, more", [
    ("data", set()), ("eval", {"model_files", "numpy_file", "symbol_file", "collectives", "device"}),
])
def test_data_and_evaluation_know_nothing_of_the_training(folder, more):
    lists = {"text_lists", "number_rows", "listed_names"}
    small = {"argument_parser", "closed_pipe", "command_line", "errors", "files", "limits", "lock", "printable"}
    allowed = small | lists | {"randomness"} | {"picture_labels"} | more
    rooms = (folder + ".", "data.")  # evaluation reads data
    for name in every_name():
        if name.startswith(folder + "."):
            assert {other for other in inside(name) if not other.startswith(rooms)} <= allowed, name


def test_doctor_needs_nothing_that_may_be_broken():
    in_processes_of_their_own = {"doctor.libraries", "doctor.collective"}
    for name in every_name():
        if name.startswith("doctor."):
            used = {other for other in inside(name) if not other.startswith("doctor.")}
            harmless = {"argument_parser", "closed_pipe", "errors", "hosts", "limits", "printable"}
            assert used <= ({"collectives"} if name in in_processes_of_their_own else harmless), name
            assert not inside(name) & in_processes_of_their_own, name
            libraries = {"mxnet", "numpy", "tqdm", "psutil", "easydict", "yaml", "cv2"}
            assert name in in_processes_of_their_own or not outside(library_file(name)) & libraries, name


@every_file
def test_no_import_games_no_code_from_text_no_globals(path):
    tree = tree_of(path)
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "sys.path" not in names and "path" not in from_imports(tree, "sys")
    assert not calls(tree) & {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]


@every_file
def test_no_file_writes_the_environment(path):
    tree = tree_of(path)
    targets = [target for node in ast.walk(tree) for target in assigned(node)]
    written = {dotted(target.value if isinstance(target, ast.Subscript) else target) for target in targets}
    assert not written & {"os.environ", "environ"}
    for changed in ("os.environ", "environ"):
        methods = ("setdefault", "update", "pop", "popitem", "clear", "__setitem__")
        assert not calls(tree) & {f"{changed}.{method}" for method in methods}
    assert not calls(tree) & {"os.putenv", "os.unsetenv", "putenv", "unsetenv"}


def assigned(node):
    """What a statement assigns to or deletes."""
    if isinstance(node, (ast.Assign, ast.Delete)):
        return node.targets
    return [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else []


@every_file
def test_symbols_are_loaded_in_one_place(path):
    loaders = {"mx.sym.load", "mx.sym.load_json", "mx.symbol.load", "mx.symbol.load_json", "mx.model.load_checkpoint"}
    of_what_was_loaded = library_file("eval.plain_layout")
    assert not calls(tree_of(path)) & loaders or path in (library_file("symbol_file"), of_what_was_loaded)


@every_file
@pytest.mark.parametrize("loaders, place", [
    ({"mx.nd.load", "mx.nd.load_frombuffer", "mx.ndarray.load", "mx.model.load_params"}, "params_file"),
    ({"np.lib.format.open_memmap", "np.lib.format.read_array"}, "numpy_file"),
    ({"safe_open"}, "tensor_file"),
    ({"json.load"}, "files"),
])
def test_files_of_strangers_are_read_in_one_place(path, loaders, place):
    writes = "eval.unfinished_features"  # maps a new file into memory
    allowed = {library_file(place), library_file(writes)} if place == "numpy_file" else {library_file(place)}
    assert not calls(tree_of(path)) & loaders or path in allowed


@every_file
def test_no_file_runs_a_pickle(path):
    tree = tree_of(path)
    runners = {"load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"}
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} - {None}
    for module in ("pickle", "_pickle", "cPickle", "dill", "joblib", "marshal", "shelve"):
        assert not names & {f"{module}.{runner}" for runner in runners}
        assert not from_imports(tree, module) & (runners | {"*"})
    renamed = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names if alias.asname]
    assert "pickle" not in {alias.name for alias in renamed}
    assert not calls(tree) & {"np.load", "numpy.load"}, "np.load may run a pickle"


@every_file
def test_what_people_read_goes_through_printable(path):
    """Nothing but JSON, which escapes by itself, is printed in another way; no handler of a log is one of Python's."""
    if path != library_file("printable"):
        nodes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        printed = [node for node in nodes if dotted(node.func) == "print"]
        assert all("json.dumps" in calls(node) for node in printed), [node.lineno for node in printed]
        named = {dotted(node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)} - {None}
        assert not named & {f"logging.{name}" for name in ("StreamHandler", "FileHandler", "Formatter", "basicConfig")}
        assert not named & {"sys.stdout.write", "sys.stderr.write"}


def from_imports(tree, module):
    """Names imported by `from module import ...`."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module]
    return {alias.name for node in nodes for alias in node.names}


@every_file
def test_everything_public_is_documented(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), "the module"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@every_file
def test_no_file_is_long(path):
    with open(path, encoding="utf-8") as file:
        assert len(file.readlines()) <= 300


@pytest.mark.parametrize("link, target", [
    (os.path.join(LIBRARY, "symbol"), os.path.join(ROOT, "symbol")),
    (os.path.join(LIBRARY, "presets.py"), os.path.join(ROOT, "default.py")),
])
def test_links_are_relative(link, target):
    assert os.path.islink(link) and not os.path.isabs(os.readlink(link))
    assert os.path.realpath(link) == os.path.realpath(target)


@every_file
def test_python_3_8_can_evaluate_the_annotations(path):
    nodes = [node for node in ast.walk(tree_of(path)) if isinstance(node, (ast.FunctionDef, ast.AnnAssign))]
    for node in nodes:
        arguments = node.args.args if isinstance(node, ast.FunctionDef) else [node]
        for annotation in filter(None, (argument.annotation for argument in arguments)):
            inner = list(ast.walk(annotation))
            assert not any(isinstance(part, ast.BinOp) for part in inner), "X | Y"
            generics = {dotted(part.value) for part in inner if isinstance(part, ast.Subscript)}
            assert not generics & {"list", "dict", "tuple", "set"}
