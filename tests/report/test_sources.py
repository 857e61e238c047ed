import json

import pytest

from partial_fc.errors import InputError
from partial_fc.report.sources import read_sources, short_names

from helpers.report import conflicts_of, evaluation, write_mistakes, write_run


def write(path, value):
    path.write_text(json.dumps(value))
    return str(path)


def test_each_argument_is_recognized_by_its_content(tmp_path):
    results = write(tmp_path / "a.json", [evaluation(), evaluation(data="cfp_fp")])
    paths = [write_run(tmp_path / "run"), results, write(tmp_path / "b.json", conflicts_of())]
    paths += [write(tmp_path / "c.json", evaluation("other")), write_mistakes(tmp_path / "mistakes")[0]]
    sources = read_sources(paths)
    assert [run.path for run in sources.runs] == paths[:1] and [each.path for each in sources.pairs] == paths[-1:]
    assert [(each.model, each.data) for each in sources.results] == [
        ("a/model", "lfw"),
        ("a/model", "cfp_fp"),
        ("other", "lfw"),
    ]
    assert len(sources.conflicts) == 1


def test_conflicts_of_a_large_data_set(tmp_path):
    path = write(tmp_path / "large.json", conflicts_of("x" * 2**24))
    assert len(read_sources([path]).conflicts) == 1


def test_mistakes_in_the_folder_of_their_run(tmp_path):
    write_run(tmp_path), write_mistakes(tmp_path)
    sources = read_sources([str(tmp_path)])
    assert len(sources.runs) == len(sources.pairs) == 1


@pytest.mark.parametrize(
    "content, message",
    [("{", "not JSON"), ("3", "not what"), ('{"a": 1}', "not what"), ("[[]]", "not what"), ("[]", "not what")],
)
def test_other_json_is_an_error(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_sources([str(path)])


def test_a_folder_that_is_neither_is_an_error(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: not the folder of a run"):
        read_sources([str(tmp_path)])


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}/none: cannot be read: No such file"):
        read_sources([f"{tmp_path}/none"])


def test_names_are_as_long_as_it_takes():
    assert short_names(["/a/b/c", "/a/d/"]) == {"/a/b/c": "c", "/a/d/": "d"}
    assert short_names(["/a/run", "/b/run", "/c"]) == {"/a/run": "a/run", "/b/run": "b/run", "/c": "/c"}
    assert short_names([]) == {} and short_names(["/"]) == {"/": "/"}
