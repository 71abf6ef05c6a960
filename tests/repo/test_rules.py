# SPDX-License-Identifier: Apache-2.0
"""House rules that no linter knows. Each rule is a few lines; a rule that found nothing to look at fails."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
MACHINE = re.compile(r"/work/(?:main|shared|tmp)|farm-(?:bench|studio)|/root/\.(?:cache|pyenv)|/opt/wheels")


def of_kind(tracked: list[Path], *suffixes: str) -> list[Path]:
    found = [path for path in tracked if path.suffix in suffixes]
    assert found, f"no {suffixes} file: the rule would check nothing"
    return found


# What tools leave in a checkout and nobody needs in a clone. All else that git ignores is a file that was forgotten.
LEFT_BY_TOOLS = re.compile(
    r"(^|/)(\.venv(-[^/]+)?|\.ansible|build|__pycache__|\.[a-z]+_cache|\.hypothesis|[^/]+\.egg-info|tests/output)/"
    r"|\.tar\.gz$|\.plugin-cache\.yaml$|importer_result\.json$"
    r"|^files/kernel_module/.*(\.ko|\.o|\.d|\.mod|\.mod\.c|\.cmd|Module\.symvers|modules\.order|ptemplate_probed\.h)$"
)


def test_nothing_that_a_clone_needs_is_ignored(root: Path) -> None:
    """A pattern of .gitignore once took go.mod with it: all was well but in a clone."""
    argv = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory"]
    ignored = subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [path for path in ignored if not LEFT_BY_TOOLS.search(path)] == []
    for module in root.glob("lab/control_plane/*/go.sum"):
        assert (module.parent / "go.mod").exists(), f"{module.parent}: go.sum without go.mod"


def test_no_symlink(root: Path, tracked: list[Path]) -> None:
    """ansible-test refuses links to folders, and a tarball may not hold them."""
    assert [str(path) for path in tracked if (root / path).is_symlink()] == []


def test_source_says_its_license(root: Path, tracked: list[Path]) -> None:
    missing = []
    for path in of_kind(tracked, ".py", ".c", ".h"):
        text = (root / path).read_text()
        if text.strip() and "SPDX-License-Identifier:" not in text[:600]:
            missing.append(str(path))
    assert missing == []


def test_kernel_code_is_gpl_and_the_rest_is_not(root: Path, tracked: list[Path]) -> None:
    for path in of_kind(tracked, ".py", ".c", ".h"):
        head = (root / path).read_text()[:600]
        if "SPDX-License-Identifier: GPL" in head:
            assert path.suffix in {".c", ".h"}, path


def test_nothing_names_the_machine_it_was_made_on(root: Path, tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        if path == Path("tests/repo/test_rules.py") or path.parts[0] == "LICENSES":
            continue
        text = (root / path).read_bytes().decode(errors="ignore")
        found += [f"{path}: {match.group()}" for match in MACHINE.finditer(text)]
    assert found == []


def test_files_stay_small(root: Path, tracked: list[Path]) -> None:
    """A long file needs a reason; the stand-ins' bound (400) and the rest's (300) are design.md's."""
    long = {
        str(path): lines
        for path in of_kind(tracked, ".py")
        if (lines := len((root / path).read_text().splitlines()))
        > (400 if "stand_ins" in path.parts or "tests" in path.parts else 320)
    }
    assert long == {}


def test_role_mains_are_one_screen(root: Path) -> None:
    mains = sorted(root.glob("roles/*/tasks/main.yml"))
    assert len(mains) == 7
    assert {m.parts[-3]: n for m in mains if (n := len(m.read_text().splitlines())) > 80} == {}


def test_each_role_documents_its_variables_and_exports(root: Path) -> None:
    for role in sorted(path for path in root.glob("roles/*") if path.is_dir()):
        readme = (role / "README.md").read_text()
        assert "## Exports" in readme, role
        spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
        undocumented = [name for name in spec.get("options", {}) if name not in readme]
        assert undocumented == [], role


def test_relative_links_lead_somewhere(root: Path, tracked: list[Path]) -> None:
    broken = []
    for path in of_kind(tracked, ".md"):
        for target in LINK.findall((root / path).read_text()):
            relative = "://" not in target and not target.startswith("mailto:")
            if relative and not (root / path.parent / target).exists():
                broken.append(f"{path}: {target}")
    assert broken == []


def test_readme_has_absolute_links_only(root: Path) -> None:
    """Automation Hub shows the README outside the repository."""
    assert [t for t in LINK.findall((root / "README.md").read_text()) if "://" not in t] == []


def test_makefile_runs_no_plain_cluster_command(root: Path) -> None:
    """make demo and make test use the lab; only other_cluster.sh may see a user's kubeconfig."""
    users = [p for p in (root / "tests").glob("*.sh") if "K8S_AUTH_KUBECONFIG" in p.read_text()]
    assert [p.name for p in users] == ["other_cluster.sh"]


@pytest.fixture(scope="module")
def tarball(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the collection's tarball, built from a clean copy as a release is."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("out")
    subprocess.run(["tests/copy_tree.sh", str(copy)], cwd=root, check=True)
    argv = ["ansible-galaxy", "collection", "build", "--output-path", str(out), str(copy)]
    subprocess.run(argv, check=True, capture_output=True)
    with tarfile.open(next(out.glob("*.tar.gz"))) as tar:
        return [member.name for member in tar.getmembers() if member.isfile()]


def test_tarball_ships_what_users_run(tarball: list[str]) -> None:
    wanted = [
        "playbooks/site.yml",
        "playbooks/teardown.yml",
        "playbooks/health.yml",
        "playbooks/vars/ptemplate.yml",
        "files/kernel_module/ptemplate_main.c",
        "files/driver_container/Containerfile",
        "files/device_plugin/Containerfile",
        "files/operator/Containerfile",
        "files/consumer/Containerfile",
        "files/consumer/licenses/Apache-2.0.txt",
        "plugins/modules/resource_wait.py",
        "meta/runtime.yml",
        "requirements.txt",
    ]
    assert [name for name in wanted if name not in tarball] == []


def test_tarball_ships_nothing_of_the_workshop(tarball: list[str]) -> None:
    workshop = re.compile(r"^(lab|tests|molecule|\.ci|\.git|\.venv|\.config|build)/|/tests/|\.(ko|o|pyc)$|^Makefile$")
    assert [name for name in tarball if workshop.search(name)] == []
