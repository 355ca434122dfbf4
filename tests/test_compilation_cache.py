"""The cache of compiled programs: where it is, how it is turned off, and that it never stops a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from mole import cli
from mole.commands.common import use_compilation_cache
from mole.files import programs
from mole.files.programs import VARIABLE, cache_folder


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """JAX's settings as the cache would change them; no variable is set but the cache folder."""
    for name in (VARIABLE, "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    got: dict[str, Any] = {}
    monkeypatch.setattr(jax.config, "update", got.__setitem__)
    return got


def test_it_is_in_the_users_cache_folder(updates: dict[str, Any], tmp_path: Path) -> None:
    use_compilation_cache()
    folder = Path(updates["jax_compilation_cache_dir"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "cache/mole/jax"
    assert not list(folder.iterdir())
    assert updates["jax_persistent_cache_min_compile_time_secs"] >= 0.5


def test_without_the_variable_it_is_in_the_home_folder(
    updates: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    assert folder.parent == tmp_path / ".cache/mole/jax"


def test_it_can_be_elsewhere_or_off(
    updates: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "here"))
    use_compilation_cache()
    assert updates["jax_compilation_cache_dir"] == str(tmp_path / "here")
    updates.clear()
    monkeypatch.setenv(VARIABLE, "OFF")
    use_compilation_cache()
    assert not updates


@pytest.mark.parametrize("name", ["JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"])
def test_what_was_told_to_jax_stays(
    updates: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "false")
    use_compilation_cache()
    assert not updates


def test_a_folder_that_cannot_be_written_is_one_line(
    updates: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    use_compilation_cache()
    assert not updates
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("no compilation cache: ")
    assert err.count("\n") == 1
    assert f"{VARIABLE} is another folder for it, or off" in err

    def full(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv(VARIABLE, str(tmp_path / "full"))
    monkeypatch.setattr(programs.tempfile, "TemporaryFile", full)
    use_compilation_cache()
    assert not updates
    assert "Permission denied" in capsys.readouterr().err


def test_the_command_turns_it_on_and_a_caller_in_the_process_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[None] = []
    settings: list[tuple[str, bool]] = []
    monkeypatch.delenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", raising=False)
    monkeypatch.setattr(cli, "use_compilation_cache", lambda: calls.append(None))
    monkeypatch.setattr(jax.config, "update", lambda name, value: settings.append((name, value)))
    missing = str(tmp_path / "none.csv")
    assert cli.main(["stream", missing, "--target", "y"]) == 2
    assert not calls
    monkeypatch.setattr(sys, "argv", ["mole", "stream", missing, "--target", "y"])
    assert cli.main() == 2
    assert len(calls) == 1
    assert settings == [("jax_cpu_enable_async_dispatch", False)]
    monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "true")
    assert cli.main() == 2
    assert len(settings) == 1
    monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")
    assert cli.main() == 2
    assert len(settings) == 2
    assert capsys.readouterr().err.count("no file at") == 4


def test_a_damaged_entry_is_compiled_anew(tmp_path: Path) -> None:
    """A process that was killed while it wrote must not break those that come after."""
    program = (
        "import jax, sys; from mole.commands.common import use_compilation_cache; use_compilation_cache();"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0);"
        "print(jax.jit(lambda x: x * 3 + 1)(2.0))"
    )
    environment = {VARIABLE: str(tmp_path), "JAX_PLATFORMS": "cpu"}
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        outputs.append((done.returncode, done.stdout))
        entries = list(tmp_path.glob("*-cache"))
        assert entries
        for entry in entries:
            entry.write_bytes(entry.read_bytes()[:50])
    assert outputs == [(0, "7.0\n")] * 2
