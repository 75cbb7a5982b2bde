"""The code that a version brings along, compared with the installed code."""

from umgclip.register.code import other_code


def test_a_version_without_code_is_taken_to_be_the_same(tmp_path):
    assert other_code(tmp_path) == ()


def test_a_version_of_an_older_layout_differs_as_a_whole(tmp_path):
    module = tmp_path / "code" / "umgclip" / "register" / "folder.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""The files that a version keeps."""\n')

    assert other_code(tmp_path) == ("umgclip",)
