"""What deploy/ holds, as far as a machine without a cloud can tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_cluster_file_fits_the_schema_of_ray() -> None:
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    validate_config(prepare_config(config))
    started = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in line for line in started if "ray start" in line)


def test_the_kubernetes_file_is_a_closed_cluster_with_shared_storage() -> None:
    found = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayCluster")
    assert found["spec"]["authOptions"] == {"mode": "token"}
    groups = [found["spec"]["headGroupSpec"], *found["spec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} == {"/shared"}
        assert pod["volumes"][0]["persistentVolumeClaim"]


def test_the_page_about_scale_runs(tmp_path: Path) -> None:
    """Its code without Ray runs in tests/test_docs.py, too."""
    page = (DEPLOY.parent / "docs/scale.md").read_text()
    code = re.findall(r"^```(?:python|py)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    code = [one for one in code if "prior.mole" not in one]  # test_fleets.py does that with a prior
    assert len(code) == 2
    (tmp_path / "scale.py").write_text("\n".join(code))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN_PATH"}
    done = subprocess.run(
        [sys.executable, "scale.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2,000 rows, " in done.stdout
