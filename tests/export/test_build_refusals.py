"""What a build refuses before it works: what another build writes, and what it could not compare with PyTorch."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from emo_rt.errors import InputError
from export import build as command


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def test_a_second_build_in_one_folder_is_one_clear_line(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the first one, in another process, goes on."""
    out = tmp_path / "bundle"
    locked = threading.Event()
    codes: list[int] = []

    def wait(*_: object) -> int:
        code = (
            f"from export.build import main; raise SystemExit(main(['--model', {str(copy)!r}, '--out', {str(out)!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (
            done.stderr == f"export: error: {out}: another build is writing it; wait for that, or give another --out\n"
        )
        codes.append(done.returncode)
        locked.set()
        return 0

    monkeypatch.setattr(command, "_renew", wait)
    assert command.main(["--model", str(copy), "--out", str(out)]) == 0
    assert locked.is_set()
    assert codes == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_a_lock_that_a_kill_left_does_not_matter(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.lock").write_text("")
    monkeypatch.setattr(command, "_renew", lambda *_: 0)
    arguments = ["--model", str(copy), "--out", str(tmp_path / "bundle")]
    assert command.main(arguments) == 0
    with FileLock(tmp_path / "bundle.lock"):
        assert command.main(arguments) == 2
        assert command.main([*arguments, "--dry-run"]) == 0


def test_bfloat16_without_a_gpu_is_refused_before_the_export(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(backend: str) -> None:
        raise InputError(f"backend {backend} needs an NVIDIA GPU")

    monkeypatch.setattr(command, "check_runs_here", refuse)
    monkeypatch.setattr(command, "_renew", lambda *_: pytest.fail("it exports"))
    arguments = [
        "--model",
        str(copy),
        "--out",
        str(tmp_path / "bundle"),
        "--precision",
        "bf16",
        "--backend",
        "tensorrt",
    ]
    assert command.main(arguments) == 2
    assert capsys.readouterr().err == (
        "export: error: --precision bf16 is compared with PyTorch on a GPU, and none is usable here (backend tensorrt "
        "needs an NVIDIA GPU); build it where one is, or build fp16\n"
    )
    monkeypatch.setattr(command, "check_runs_here", lambda _: None)
    monkeypatch.setattr(command, "_renew", lambda *_: 0)
    assert command.main(arguments) == 0


def test_a_backend_that_runs_the_bundles_of_another_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["--backend", "openvino-bf16"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "openvino-bf16 runs the bundles that are built for openvino; give openvino" in error
