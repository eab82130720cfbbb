"""``sync --src … --dest …``: skopeo's names, lines and exit codes; skopeo itself runs beside where it is installed."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.copy.world import assert_complete, fresh, image, named
from tests.registries import Registry
from tests.sync.world import Place, log_lines

#: docker-registry lists tags in an order that differs from call to call.
_NUMBER = re.compile(r" image ref \d+/\d+")


def _skopeo(*words: str) -> tuple[int, list[str]]:
    done = subprocess.run(["skopeo", "--insecure-policy", "sync", *words], capture_output=True, text=True, timeout=60)
    return done.returncode, [line.partition('" ')[2] for line in done.stderr.splitlines()]


def _source(place: Place) -> str:
    repo = fresh("forms/a")
    for tag in ("1", "2"):
        image(place.source, repo, tag)
    return repo


def _tags(registry: Registry, repo: str) -> list[str]:
    return [tag for tag in ("1", "2", "1-x", "2-x") if named(registry, repo, tag)]


def test_a_repository_arrives_with_all_its_tags_and_skopeos_lines(place: Place) -> None:
    """One tag list, then every tag, named by the last component."""
    repo, to = _source(place), fresh("forms/b")
    source, target = f"{place.source.host}/{repo}", f"{place.destination.host}/{to}"
    name = repo.rpartition("/")[2]
    ran = place.sync("--src", "docker", "--dest", "docker", source, target)
    assert ran.code == 0, ran.err
    assert log_lines(ran) == [
        f'level=info msg="Tag presence check" imagename="{source}" tagged=false',
        f'level=info msg="Getting tags" image="{source}"',
        f'level=info msg="Copying image ref 1/2" from="docker://{source}:1" to="docker://{target}/{name}:1"',
        f'level=info msg="Copying image ref 2/2" from="docker://{source}:2" to="docker://{target}/{name}:2"',
        'level=info msg="Synced 2 images from 1 sources"',
    ]
    assert "Writing manifest to image destination" in ran.out
    assert _tags(place.destination, f"{to}/{name}") == ["1", "2"]


def test_called_as_skopeo_stderr_is_the_log_alone(place: Place) -> None:
    """No summary where scripts expect logrus lines."""
    ran = place.sync("--src=docker", "--dest=docker", f"{place.source.host}/{_source(place)}",
                     f"{place.destination.host}/{fresh('forms/b')}", program="skopeo")  # fmt: skip
    assert all(line.startswith("time=") for line in ran.err.splitlines())


@pytest.mark.real("docker-registry", "skopeo")
@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--all"], ["--keep-going"]], ids=lambda words: "".join(words))
def test_docker_to_docker_says_and_makes_what_skopeo_does(real_place: Place, words: list[str]) -> None:
    """The same log lines, exit code and destination names."""
    place, repo = real_place, _source(real_place)
    said = []
    for to, sync in ((fresh("forms/b"), _skopeo), (fresh("forms/b"), None)):
        target = f"{place.destination.host}/{to}"
        arguments = ["--src=docker", "--dest=docker", *words, f"{place.source.host}/{repo}", target]
        if sync:
            code, lines = sync("--src-tls-verify=false", "--dest-tls-verify=false", *arguments)
        else:
            ran = place.sync(*arguments)
            code, lines = ran.code, log_lines(ran)
        name = f"{to}/{repo.rpartition('/')[2]}"
        told = sorted(_NUMBER.sub(" image ref", line.replace(target, "TARGET")) for line in lines)
        said.append((code, told, lines[-1], _tags(place.destination, name)))
    assert said[0] == said[1]


def test_a_suffix_goes_to_the_end_of_every_tag(place: Place) -> None:
    """--append-suffix."""
    repo, to = _source(place), fresh("forms/b")
    ran = place.sync("--src=docker", "--dest=docker", "--append-suffix=-x", f"{place.source.host}/{repo}",
                     f"{place.destination.host}/{to}")  # fmt: skip
    assert ran.code == 0, ran.err
    assert _tags(place.destination, f"{to}/{repo.rpartition('/')[2]}") == ["1-x", "2-x"]


_YAML = """
"HOST":
  tls-verify: false
  images:
    REPO: ["1"]
    "REPO2:1": []
    nobody/there: []
  images-by-tag-regex:
    REPO: ^2$
    REPO3: ^nothing
"""


@pytest.mark.real("docker-registry", "skopeo")
def test_yaml_to_docker_copies_what_skopeo_does_and_skips_what_it_skips(real_place: Place) -> None:
    """Bad names and repositories that cannot be listed are logged and skipped; the exit code is 0 for both."""
    place, repo, other = real_place, _source(real_place), _source(real_place)
    text = _YAML.replace("HOST", place.source.host).replace("REPO2", other).replace("REPO3", other)
    file = place.file(text.replace("REPO", repo), "sync.yaml")
    results: list[tuple[int, list[str], str, list[str]]] = []
    for to in (fresh("forms/b"), fresh("forms/b")):
        target = f"{place.destination.host}/{to}"
        arguments = ["--src=yaml", "--dest=docker", file, target]
        if not results:
            code, lines = _skopeo("--dest-tls-verify=false", *arguments)
        else:
            ran = place.sync(*arguments)
            code, lines = ran.code, log_lines(ran)
        kinds = sorted(
            re.sub(r" image ref .*", "", line).replace(target, "TARGET") for line in lines if "Copying" in line
        )
        name = f"{to}/{repo.rpartition('/')[2]}"
        results.append((code, kinds, lines[-1], _tags(place.destination, name)))
        assert any("Error processing repo, skipping" in line for line in lines)
        assert any('msg="No refs to sync found"' in line for line in lines)
    assert results[0] == results[1]
    assert results[0][3] == ["1", "2"]


def test_scoped_works_where_the_registry_has_a_port(place: Place) -> None:
    """skopeo makes an invalid name of host:port; here the colon becomes an underscore."""
    repo, to = _source(place), fresh("forms/b")
    ran = place.sync("--src=docker", "--dest=docker", "--scoped", f"{place.source.host}/{repo}:1",
                     f"{place.destination.host}/{to}")  # fmt: skip
    assert ran.code == 0, ran.err
    assert named(place.destination, f"{to}/{place.source.host.replace(':', '_')}/{repo}", "1")


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_missing_image_is_2_without_and_1_with_keep_going(place: Place, keep_going: bool) -> None:
    """skopeo's exit codes and last lines."""
    repo = _source(place)
    words = ["--keep-going"] if keep_going else []
    ran = place.sync("--src=docker", "--dest=docker", *words, f"{place.source.host}/{repo}:9",
                     f"{place.destination.host}/{fresh('forms/b')}")  # fmt: skip
    assert ran.code == (1 if keep_going else 2)
    if keep_going:
        assert "Sync failed due to previous reported error(s) for one or more images" in ran.fatal
        assert 'msg="Synced 0 images from 1 sources"' in ran.err
    else:
        assert f'Error copying ref \\"{place.source.ref(repo, "9")}\\": ' in ran.fatal
        assert "Synced" not in ran.err


def test_a_repository_that_cannot_be_listed_ends_the_run(place: Place) -> None:
    """Exit code 1 and skopeo's words."""
    source = f"{place.source.host}/nobody/there"
    ran = place.sync("--src=docker", "--dest=docker", source, f"{place.destination.host}/x")
    assert ran.code == 1
    assert f"Error determining repository tags for image {source}: " in ran.fatal


def test_the_digest_file_has_a_line_per_image(place: Place) -> None:
    """``digest destination``; emptied first, untouched by a dry run."""
    made = image(place.source, fresh("forms/a"))
    file = place.files / "digests"
    file.write_text("old\n")
    target = f"{place.destination.host}/{fresh('forms/b')}"
    arguments = ["--src=docker", "--dest=docker", "--digestfile", str(file), made.ref.removeprefix("docker://"), target]
    assert place.sync("--dry-run", *arguments).code == 0
    assert file.read_text() == "old\n"
    assert place.sync(*arguments).code == 0
    assert file.read_text() == f"{made.digest} docker://{target}/{made.repo.rpartition('/')[2]}:1\n"
    assert_complete(place.destination, f"{target.partition('/')[2]}/{made.repo.rpartition('/')[2]}", made)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--src=dir", "--dest=dir", "a", "b"],
            "sync from 'dir' to 'dir' not implemented, consider using rsync instead",
        ),
        (["--src=docker", "--dest=docker", "A", "b.lan/x"], "Cannot obtain a valid image reference for transport"),
        (["--src=docker", "--dest=docker", "--from=x", "a", "b"], "--from needs --list or --config"),
        (["--list=x", "--config=y"], "--list and --config exclude each other"),
        (["--list=x", "--src=docker"], "--src is for --src and --dest"),
        (["--list=/nowhere/x"], "/nowhere/x: No such file or directory"),
        (["--src=docker", "--dest=docker", "--prune", "a", "b"], "--prune deletes only where a configuration says"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_contacted(place: Place, words: list[str], said: str) -> None:
    """One fatal line that names the flag or the argument."""
    ran = place.sync(*words)
    assert ran.code != 0
    assert said in ran.fatal


def test_to_directories_and_back(place: Place) -> None:
    """``repo:tag`` directories below the destination; the directories' names make the images' names."""
    repo, to = _source(place), fresh("forms/b")
    base = place.files / "media"
    ran = place.sync("--src=docker", "--dest=dir", f"{place.source.host}/{repo}", str(base))
    assert ran.code == 0, ran.err
    name = repo.rpartition("/")[2]
    assert sorted(path.name for path in base.iterdir()) == [f"{name}:1", f"{name}:2"]
    back = place.sync("--src=dir", "--dest=docker", str(base), f"{place.destination.host}/{to}")
    assert back.code == 0, back.err
    assert 'msg="Synced 2 images from 1 sources"' in back.err
    assert named(place.destination, f"{to}/{name}", "2") == named(place.source, repo, "2")


def test_an_existing_directory_is_refused_before_anything_is_copied(place: Place) -> None:
    """skopeo copies up to that image and stops there."""
    repo = _source(place)
    base = place.files / "media"
    (base / f"{repo.rpartition('/')[2]}:2").mkdir(parents=True)
    ran = place.sync("--src=docker", "--dest=dir", "--keep-going", f"{place.source.host}/{repo}", str(base))
    assert ran.code == 1
    assert "Refusing to overwrite destination directory" in ran.fatal
    assert len(list(base.iterdir())) == 1


def test_a_directory_without_images_is_told(place: Place) -> None:
    """skopeo's words, for an empty directory and for none."""
    (place.files / "empty").mkdir()
    for path, said in (("empty", "No images to sync found in"), ("none", "Invalid source directory specified: stat")):
        ran = place.sync("--src=dir", "--dest=docker", str(place.files / path), f"{place.destination.host}/x")
        assert ran.code == 1
        assert said in ran.fatal
