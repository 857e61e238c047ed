"""The rules of the house, read from the syntax tree of every file: which room imports which, what no file may do."""

import ast
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(ROOT, "src", "partial_fc")

# What each room may import, beside itself and what stands at the end. A file at the top of the package is a room.
BASE = {"errors", "files", "limits", "output", "randomness", "__version__"}
ROOMS = {
    "output": set(),
    "lists": set(),
    "pictures": set(),
    "symbol": set(),
    "config_entry": set(),
    "config_keys": {"config_entry"},
    "published_presets": set(),
    "config": {"config_entry", "config_keys", "lists", "published_presets"},
    "distributed": {"config", "lists"},
    "head": set(),
    "backbone": set(),
    "checkpoint": {"distributed", "head", "lists"},
    "data": {"distributed", "lists", "pictures"},
    "doctor": {"device", "distributed", "head"},
    "curation": {"checkpoint", "data", "lists", "pictures"},
    "planning": {"backbone", "config", "distributed", "doctor", "head"},
    "eval": {"backbone", "checkpoint", "data", "device", "distributed", "lists", "pictures"},
    "interchange": {"backbone", "checkpoint", "eval", "symbol"},
    "report": {"checkpoint", "data", "distributed", "eval", "training"},
    "training": {
        "backbone",
        "checkpoint",
        "config",
        "config_entry",
        "config_keys",
        "data",
        "device",
        "distributed",
        "eval",
        "head",
        "pictures",
        "planning",
        "symbol",
    },
}
MOST_IMPORTS, MOST_LINES, MOST_AT_THE_TOP = 15, 350, 12


def python_files(folder):
    names = (os.path.join(parent, name) for parent, _, files in os.walk(folder) for name in files)
    return sorted(name for name in names if name.endswith(".py") and not os.path.islink(name))


SYMBOL_FILES = python_files(os.path.join(ROOT, "symbol"))
LIBRARY_FILES = python_files(LIBRARY)
FILES = LIBRARY_FILES + SYMBOL_FILES + [os.path.join(ROOT, name) for name in ("default.py", "unpack_glint360k.py")]


def tree_of(path):
    with open(path, encoding="utf-8") as file:
        return ast.parse(file.read())


def name_of(path):
    """Dotted name of a file below the package, `data.batches`; `data` for its `__init__`, `default` for default.py."""
    path = os.path.relpath(path, LIBRARY if path.startswith(LIBRARY + os.sep) else ROOT)
    parts = path[: -len(".py")].split(os.sep)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in LIBRARY_FILES + SYMBOL_FILES}


def imports(path, tree=None):
    """Absolute dotted names of what a file imports anywhere, of modules of ours with the imported name."""
    found = set()
    for node in ast.walk(tree or tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ["partial_fc", *filter(None, name_of(path).split("."))]
            package = package if os.path.basename(path) == "__init__.py" else package[:-1]
            module = package[: len(package) - node.level + 1] if node.level else []
            module += node.module.split(".") if node.module else []
            names = {alias.name for alias in node.names}
            found |= {".".join([*module, name]) for name in names} if module[0] == "partial_fc" else {".".join(module)}
    return found


def own_part(path):
    """The tree of a file without what it does when it is run as a program."""
    return ast.Module([node for node in tree_of(path).body if not isinstance(node, ast.If)], [])


def inside(path, tree=None):
    """Names of the modules of the library that a file imports; `__version__` for that of the package."""
    found = set()
    for imported in imports(path, tree):
        parts = imported.split(".")
        if parts[0] == "partial_fc" and len(parts) > 1:
            candidates = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
            found.add(next((candidate for candidate in candidates if candidate in NAMES), parts[1]))
    return found


def outside(path):
    """Top-level names of what a file imports from elsewhere."""
    return {name.split(".")[0] for name in imports(path)} - {"partial_fc"}


def room_of(name):
    return name.split(".")[0]


def dotted(node):
    """`os.environ` for the expression of that name, None for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return f"{dotted(node.value)}.{node.attr}"
    return None


def calls(tree):
    return {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)} - {None}


def attributes(tree):
    return {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} - {None}


def from_imports(tree, module):
    """Names imported by `from module import ...`."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module]
    return {alias.name for node in nodes for alias in node.names}


def offenders(check):
    """`file: what` for every file of which `check(path, tree)` yields something."""
    return [f"{os.path.relpath(path, ROOT)}: {what}" for path in FILES for what in check(path, tree_of(path)) or ()]


def test_every_file_is_looked_at():
    assert {"train", "head.partial_fc", "data.batches", "eval.protocols.verification", "symbol.resnet"} <= set(NAMES)


def test_rooms_import_what_stands_below_them():
    for name, path in NAMES.items():
        room = room_of(name)
        if room in ROOMS:
            allowed = ROOMS[room] | BASE | {room}
            found = {other for other in inside(path) if room_of(other) not in allowed}
            assert not found, f"{name} imports {sorted(found)}; {room} may import {sorted(allowed)}"


def test_only_the_command_line_stands_above_train():
    for name, path in NAMES.items():
        above = {other for other in inside(path, own_part(path)) if room_of(other) in ("cli", "train", "launch")}
        assert not above or room_of(name) in ("cli", "launch", "__main__"), f"{name} imports {above}"


def test_nothing_imports_in_a_circle():
    links = {name: inside(path, own_part(path)) & set(NAMES) for name, path in NAMES.items()}
    done, on_the_way = set(), []

    def follow(name):
        assert name not in on_the_way, f"a circle: {' -> '.join([*on_the_way, name])}"
        if name not in done:
            on_the_way.append(name)
            for other in links[name] - {name}:
                follow(other)
            done.add(on_the_way.pop())

    for name in links:
        follow(name)


def test_files_are_short_and_import_little():
    for name, path in NAMES.items():
        with open(path, encoding="utf-8") as file:
            lines = len(file.readlines())
        assert lines <= MOST_LINES, f"{name} has {lines} lines"
        ours = len(inside(path, own_part(path)) - {"errors", "__version__"})
        assert ours <= MOST_IMPORTS, f"{name} imports {ours} of our modules"


def test_the_top_of_the_package_is_small():
    top = [name for name in os.listdir(LIBRARY) if name.endswith(".py") and not name.startswith("__")]
    assert len(top) <= MOST_AT_THE_TOP, sorted(top)


def test_the_heart_of_the_head():
    """partial_fc is a step over the parts, the parts know neither it nor each other, but for banks."""
    parts = {"margin_softmax", "parallel_softmax", "optimizer", "normalize", "workspace", "partition", "samplers"}
    for part in parts:
        assert inside(NAMES[f"head.{part}"]) <= {"errors", "head.ranks"}, part
    assert "head.partial_fc" not in inside(NAMES["head.memory_bank"]) | inside(NAMES["head.host_bank"])


def test_only_collectives_imports_horovod_and_mpi4py():
    users = {name for name, path in NAMES.items() if outside(path) & {"horovod", "mpi4py"}}
    assert users == {"distributed.collectives"}


def test_presets_import_easydict_only():
    assert imports(os.path.join(ROOT, "default.py")) == {"easydict"}


def test_backbones_import_mxnet_and_each_other_only():
    for path in SYMBOL_FILES:
        assert outside(path) <= {"mxnet", "functools", "inspect", "typing"}, path
        assert {room_of(name) for name in inside(path)} <= {"symbol"}, path


def test_the_command_line_does_not_wait_for_mxnet():
    for name, path in NAMES.items():
        if room_of(name) in ("cli", "__main__"):
            at_import = ast.Module([node for node in tree_of(path).body if isinstance(node, ast.ImportFrom)], [])
            used = {room_of(other) for other in inside(path, at_import)}
            used |= {each.split(".")[0] for each in imports(path, at_import)}
            assert not used & {"train", "training", "eval", "head", "mxnet", "numpy"}, f"{name} imports {used}"


def test_doctor_needs_nothing_that_may_be_broken():
    in_processes_of_their_own = {"doctor.libraries", "doctor.collective", "doctor.precisions"}
    libraries = {"mxnet", "numpy", "tqdm", "psutil", "easydict", "yaml", "cv2", "horovod", "mpi4py"}
    for name, path in NAMES.items():
        if room_of(name) == "doctor" and name not in in_processes_of_their_own:
            used = {other for other in inside(path) if room_of(other) != "doctor"}
            assert used <= {"errors", "files", "limits", "distributed.hosts", "output.printable"}, (
                f"{name} imports {used}"
            )
            assert not outside(path) & libraries and not inside(path) & in_processes_of_their_own, name


def test_no_import_games_no_code_from_text_no_globals():
    def check(path, tree):
        if "sys.path" in attributes(tree) or "path" in from_imports(tree, "sys"):
            yield "changes sys.path"
        yield from calls(tree) & {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"}
        yield from ("global" for node in ast.walk(tree) if isinstance(node, ast.Global))

    assert not offenders(check)


def test_endings_of_files_are_compared_in_one_place():
    def check(path, tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "endswith":
                ending = node.args[0]
                if isinstance(ending, ast.Constant) and str(ending.value).startswith("."):
                    yield f"endswith({ending.value!r}), not files.has_ending"

    assert not offenders(check)


def test_no_file_writes_the_environment():
    methods = ("setdefault", "update", "pop", "popitem", "clear", "__setitem__")
    changes = {f"{name}.{method}" for name in ("os.environ", "environ") for method in methods}

    def check(path, tree):
        targets = [target for node in ast.walk(tree) for target in assigned(node)]
        written = {dotted(target.value if isinstance(target, ast.Subscript) else target) for target in targets}
        yield from written & {"os.environ", "environ"}
        yield from calls(tree) & (changes | {"os.putenv", "os.unsetenv", "putenv", "unsetenv"})

    assert not offenders(check)


def assigned(node):
    """What a statement assigns to or deletes."""
    if isinstance(node, (ast.Assign, ast.Delete)):
        return node.targets
    return [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else []


def test_symbols_are_loaded_where_they_are_checked():
    loaders = {"mx.sym.load", "mx.sym.load_json", "mx.symbol.load", "mx.symbol.load_json", "mx.model.load_checkpoint"}
    checked = {NAMES["checkpoint.symbol_file"]}
    checked |= {NAMES["backbone.graph"], NAMES["interchange.onnx_export"]}  # what has been loaded
    assert not offenders(lambda path, tree: set() if path in checked else calls(tree) & loaders)


READERS = {
    "checkpoint.params_file": {"mx.nd.load", "mx.nd.load_frombuffer", "mx.ndarray.load", "mx.model.load_params"},
    "checkpoint.numpy_file": {"np.lib.format.open_memmap", "np.lib.format.read_array", "np.fromfile"},
    "checkpoint.tensor_file": {"safe_open"},
    "files": {"json.load"},
}


def test_files_of_strangers_are_read_in_one_place():
    """One module checks each format before a library reads it."""
    writers = {"eval.unfinished_features": "np.lib.format.open_memmap"}  # which maps files that it makes

    def check(path, tree):
        for reader, loaders in READERS.items():
            if name_of(path) != reader:
                yield from calls(tree) & loaders - {writers.get(name_of(path))}

    assert {reader for reader in READERS if reader in NAMES} == set(READERS)
    assert not offenders(check)


def test_what_people_read_goes_through_printable():
    """Only `output.printable` prints and formats a log; others print nothing but JSON, which escapes by itself."""
    handlers = {f"logging.{name}" for name in ("StreamHandler", "FileHandler", "Formatter", "basicConfig")}
    streams = {"sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write", "sys.stderr.buffer.write"}

    def check(path, tree):
        if path != NAMES["output.printable"]:
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "print"]
            yield from (f"print in line {node.lineno}" for node in nodes if "json.dumps" not in calls(node))
            yield from attributes(tree) & (handlers | streams)
            yield from from_imports(tree, "logging") & {name.split(".")[1] for name in handlers}

    assert not offenders(check)


def test_no_file_runs_a_pickle():
    runners = {"load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"}
    checks_opcodes_first = NAMES["data.safe_pickle"]

    def check(path, tree):
        if path == checks_opcodes_first:
            return
        for module in ("pickle", "_pickle", "cPickle", "dill", "joblib", "marshal", "shelve"):
            yield from attributes(tree) & {f"{module}.{runner}" for runner in runners}
            yield from from_imports(tree, module) & (runners | {"*"})
        imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        yield from (alias.name for alias in imported if alias.asname and alias.name == "pickle")
        yield from calls(tree) & {"np.load", "numpy.load"}  # which may run a pickle

    assert not offenders(check)


def test_everything_public_is_documented():
    def check(path, tree):
        public = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        named = [(node.name, node) for node in public if not node.name.startswith("_")]
        yield from (name for name, node in [("the module", tree), *named] if not ast.get_docstring(node))

    assert not offenders(check)


def test_public_functions_are_completely_annotated():
    def check(path, tree):
        for name, function in public_functions(tree):
            left_out = [argument.arg for argument in bare_arguments(function)]
            left_out += ["return"] if function.returns is None and function.name != "__init__" else []
            yield from (f"{name}: {each} has no annotation" for each in left_out)

    assert not (found := offenders(check)), "\n".join(found)


def public_functions(tree):
    """(Name, node) of the functions and methods of a module that others may call."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for name, function in public_functions(node):
                yield f"{node.name}.{name}", function
        elif isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
            yield node.name, node


def bare_arguments(function):
    """Arguments of a function without annotation, but for `self` and `cls`."""
    each = function.args
    every = [*each.posonlyargs, *each.args, *each.kwonlyargs, *filter(None, (each.vararg, each.kwarg))]
    return [argument for argument in every if argument.annotation is None and argument.arg not in ("self", "cls")]


def test_python_3_8_can_evaluate_the_annotations():
    def check(path, tree):
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AnnAssign)):
                each = [*node.args.args, *node.args.kwonlyargs] if isinstance(node, ast.FunctionDef) else [node]
                returned = [node.returns] if isinstance(node, ast.FunctionDef) else []
                for annotation in filter(None, [*(argument.annotation for argument in each), *returned]):
                    parts = list(ast.walk(annotation))
                    yield from ("X | Y" for part in parts if isinstance(part, ast.BinOp))
                    generics = {dotted(part.value) for part in parts if isinstance(part, ast.Subscript)}
                    yield from generics & {"list", "dict", "tuple", "set", "frozenset"}

    assert not offenders(check)


@pytest.mark.parametrize("link, target", [("symbol", "symbol"), ("presets.py", "default.py")])
def test_links_are_relative(link, target):
    link = os.path.join(LIBRARY, link)
    assert os.path.islink(link) and not os.path.isabs(os.readlink(link))
    assert os.path.realpath(link) == os.path.realpath(os.path.join(ROOT, target))
