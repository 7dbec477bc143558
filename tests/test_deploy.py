"""The files of deploy/ hold: schemas of their formats, names that exist, settings that Prefect and Dailies know.

No image can be built here, so what a build or a start would trip over is looked for instead.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import prefect.settings
import prefect_redis.cleanup_queue
import prefect_redis.client
import pytest
import yaml
from prefect.utilities.templating import apply_values

from flows.settings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".target"))
KUBERNETES = "1.33"
"""Version whose schemas the manifests are held against."""

FILLED = {
    "POSTGRES_PASSWORD": "secret1",
    "MACHINE": "render7",
    "TIMEZONE": "Europe/Berlin",
    "SHARED": "/mnt/dailies",
    "WEIGHTS": "/mnt/weights",
}
"""What compose.yaml cannot do without."""


def _interpolated(text: str, given: Mapping[str, str]) -> str:
    """A string of compose.yaml with its variables put in, as the Compose specification says."""

    def put(match: re.Match[str]) -> str:
        name, operator, word = match[1], match[2], match[3]
        if given.get(name):
            return given[name]
        assert operator == ":-", f"{name} is not set: {word}"
        return str(word)

    return re.sub(r"\$\{([A-Z_]+)(?:(:[-?])([^}]*))?\}", put, text)


def _manifests() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, document)
        for path in MANIFESTS
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document["kind"] != "Kustomization"
    ]


def _environments() -> Iterator[tuple[str, str]]:
    """Place and name of every variable that the files of deploy/ set."""
    for service, given in SERVICES.items():
        yield from ((f"compose.yaml: {service}", name) for name in given.get("environment", {}))
    for path in (*DEPLOY.glob("*.example"), *(DEPLOY / "systemd").glob("*.example")):
        for name in re.findall(r"^#?([A-Z_]+)=", path.read_text(encoding="utf-8"), re.M):
            yield path.name, name
    for name, document in _manifests():
        if document["kind"] == "ConfigMap":
            yield from ((name, key) for key in document["data"])


def _commands() -> list[tuple[str, list[str]]]:
    """Place and words of every command that runs our code or Prefect's."""
    found = [(f"compose.yaml: {name}", one["command"]) for name, one in SERVICES.items() if "command" in one]
    for name, document in _manifests():
        if document["kind"] == "Deployment":
            found += [(name, box["command"]) for box in document["spec"]["template"]["spec"]["containers"]]
    for path in UNITS:
        lines = re.findall(r"^ExecStart(?:Pre)?=(.*)$", path.read_text(encoding="utf-8"), re.M)
        found += [(path.name, shlex.split(line.replace("/opt/dailies/.venv/bin/", ""))) for line in lines]
    found += [("Dockerfile", json.loads(words)) for words in re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)]
    return [(place, [str(word) for word in words]) for place, words in found]


def test_compose_fits_the_specification() -> None:
    """compose.yaml is valid by the JSON schema of the Compose specification."""
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_compose_refers_to_what_is_there() -> None:
    """Services wait for services of their own profile, volumes are declared, files to mount and to build from exist."""
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert set(service["profiles"]) <= set(SERVICES[needed]["profiles"]), (name, needed)
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], (name, needed)
            if condition["condition"] == "service_completed_successfully":
                assert SERVICES[needed]["restart"] == "no", (name, needed)
        for volume in service.get("volumes", []):
            source = _interpolated(volume, FILLED).split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).is_file(), source
            elif not source.startswith("/"):
                assert source in COMPOSE["volumes"], source
        if build := service.get("build"):
            assert f" AS {build['target']}\n" in DOCKERFILE
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
            assert service["image"].startswith(f"dailies-{build['target']}:")
    # an image that a profile runs is built by a service that starts with it
    for profile in {profile for service in SERVICES.values() for profile in service["profiles"]}:
        started = [service for service in SERVICES.values() if profile in service["profiles"]]
        built = {service["image"] for service in started if "build" in service}
        assert {one["image"] for one in started if one["image"].startswith("dailies")} == built, profile


def test_compose_holds_no_secret_and_says_what_it_misses() -> None:
    """Every password comes from outside; each variable stands in compose.env.example; one that has no default is asked
    for with a sentence."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for user in re.findall(r"://dailies:([^@]*)@", text):
        assert user.startswith("${POSTGRES_PASSWORD:?")
    used = set(re.findall(r"\$\{([A-Z_]+)", text))
    example = (DEPLOY / "compose.env.example").read_text(encoding="utf-8")
    offered = set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    passed = {
        name for service in SERVICES.values() for name, value in service.get("environment", {}).items() if not value
    }
    assert used | passed == offered - {"COMPOSE_PROJECT_NAME"}
    _interpolated(re.sub(r"^ *#.*$", "", text, flags=re.M), FILLED)  # fails for one without a value
    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) == set(FILLED)
    assert re.findall(r"^POSTGRES_PASSWORD=$", example, re.M)


def _compose() -> list[str]:
    """How Compose is called here, preferably its second version; empty if it is not installed."""
    plugin = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True)
    if plugin and plugin.returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


@pytest.mark.skipif(not _compose(), reason="needs Docker Compose")
def test_compose_itself_takes_the_file(tmp_path: Path) -> None:
    """`docker compose config` with every profile resolves the file, and refuses it where the password is missing."""
    profiles = sorted({profile for service in SERVICES.values() for profile in service["profiles"]})
    words = [
        *_compose(),
        "-f",
        str(DEPLOY / "compose.yaml"),
        *(word for one in profiles for word in ("--profile", one)),
    ]
    clean = {name: value for name, value in os.environ.items() if name not in FILLED}
    done = subprocess.run([*words, "config"], env={**clean, **FILLED}, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)
    without = {name: value for name, value in FILLED.items() if name != "POSTGRES_PASSWORD"}
    done = subprocess.run([*words, "config"], env={**clean, **without}, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "set POSTGRES_PASSWORD in deploy/.env" in done.stderr


def test_stopping_leaves_time_for_a_checkpoint() -> None:
    """Whoever stops a worker waits five minutes before killing it: Docker, systemd, Kubernetes, and its Jobs."""
    workers = [service for service in SERVICES.values() if "flows.worker" in service.get("command", [])]
    assert len(workers) == 6
    assert {service["stop_grace_period"] for service in workers} == {"5m"}
    assert all(service["init"] for service in workers)
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        if "flows.worker" in text:
            assert "TimeoutStopSec=300\n" in text
            assert "KillMode=mixed\n" in text
    pods = [one["spec"]["template"]["spec"] for _, one in _manifests() if one["kind"] == "Deployment"]
    pods = [pod for pod in pods if "flows.worker" in pod["containers"][0]["command"]]
    pods.append(_reel_pod(_job_template()))
    assert len(pods) == 3
    assert {pod["terminationGracePeriodSeconds"] for pod in pods} == {300}


def test_a_gpu_is_one_workers_alone() -> None:
    """Each gpu service is handed one device of its own, and every gpu worker takes one run at a time."""
    given = {}
    for name, service in SERVICES.items():
        if name.startswith("gpu-"):
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            assert device["driver"] == "nvidia"
            assert device["capabilities"] == ["gpu"]
            (given[name],) = device["device_ids"]
            assert service["profiles"] == [name]
            assert "--limit" not in service["command"]
    assert given == {f"gpu-{number}": str(number) for number in range(4)}
    pods = [one["spec"]["template"]["spec"] for name, one in _manifests() if name == "gpu-worker.yaml"]
    for pod in (*pods, _reel_pod(_job_template())):
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_every_setting_is_one() -> None:
    """Each PREFECT_ variable is a setting of the installed Prefect or of prefect-redis, each DAILIES_ one is read."""
    redis = {
        f"PREFECT_REDIS_{part}_{field.upper()}"
        for part, settings in (
            ("MESSAGING", prefect_redis.client.RedisMessagingSettings),
            ("WORKER_CLEANUP_QUEUE", prefect_redis.cleanup_queue.RedisWorkerCleanupQueueSettings),
        )
        for field in settings.model_fields
    }
    for place, name in _environments():
        if name.startswith("PREFECT_REDIS_"):  # of the package prefect-redis, not of Prefect
            assert name in redis, (place, name)
        elif name.startswith("PREFECT_"):
            assert hasattr(prefect.settings, name), (place, name)
        elif name.startswith("DAILIES_"):
            assert name in VARIABLES, (place, name)


def test_every_module_that_is_plugged_in_exists() -> None:
    """The storage modules that Prefect is told to use can be found, and are the same for Compose and systemd."""
    compose = COMPOSE["x-prefect-server"]
    example = (DEPLOY / "systemd" / "server.env.example").read_text(encoding="utf-8")
    unit = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.M))
    modules = {name: value for name, value in compose.items() if str(value).startswith("prefect_redis.")}
    assert len(modules) == 5
    for name, module in modules.items():
        assert find_spec(module), module
        assert unit[name] == module
    assert {name for name in compose if "REDIS" in name or "DATABASE" in name} <= set(unit)


@cache
def _help(*words: str) -> str:
    """What `python -m WORDS... --help` says, which must be a command."""
    done = subprocess.run([sys.executable, "-m", *words, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("place", "words"), _commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_exists(place: str, words: list[str]) -> None:
    """What containers and units start is a module of ours or a command of this Prefect, and it knows its options."""
    program, *rest = words
    if program == "python":
        flag, module, *rest = rest
        assert flag == "-m"
        said = _help(module)
        assert module != "flows.worker" or rest[0] in ("gpu", "cpu", "night")
    elif program == "prefect":
        command = list(takewhile(lambda word: not word.startswith("-"), rest))
        said = _help(program, *command)
    elif program == "dailies":
        said = _help("desk.cli", *rest)
    else:
        assert program == "redis-server"
        return
    assert all(word in said for word in rest if word.startswith("--")), place


def test_the_dockerfile_copies_what_is_there() -> None:
    """Every source that is copied exists and is let through by .dockerignore, and every package of ours is copied."""
    sources = [word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for word in line.split()[:-1]]
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_through or f"{source.rpartition('/')[0]}/*{Path(source).suffix}" in let_through, source
    packages = {"catalogs", "models", "tasks", "flows", "desk", "deploy"}
    for target in ("cpu", "gpu"):
        stage = DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert packages <= {line.split()[1] for line in stage.splitlines() if line.startswith("COPY")}, target
        # who runs is a number that is not root's: Kubernetes checks it
        assert re.search(r"^ARG UID\nUSER \$UID$", stage, re.M), target
    assert re.search(r"^ARG UID=1000$", DOCKERFILE, re.M)
    assert {"deploy/.env", "deploy/env"} <= set(ignore)


def test_the_dockerfile_passes_its_linter() -> None:
    """hadolint has nothing to say."""
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "hadolint"), "--no-color", str(DEPLOY / "docker" / "Dockerfile")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


@pytest.mark.parametrize(("name", "document"), _manifests(), ids=lambda value: value if isinstance(value, str) else "")
def test_manifests_fit_the_schemas_of_kubernetes(name: str, document: dict[str, Any]) -> None:
    """Each manifest is valid, without a field that Kubernetes does not know."""
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_manifests_refer_to_each_other() -> None:
    """Claims, ConfigMap, account and role that a pod names are there; selectors match labels; kustomize lists all."""
    documents = [document for _, document in _manifests()]
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    pods = [document["spec"]["template"] for document in documents if document["kind"] == "Deployment"]
    for document in documents:
        if document["kind"] == "Deployment":
            assert document["spec"]["selector"]["matchLabels"] == document["spec"]["template"]["metadata"]["labels"]
        if document["kind"] == "RoleBinding":
            assert ("Role", document["roleRef"]["name"]) in names
            assert all((subject["kind"], subject["name"]) in names for subject in document["subjects"])
    for spec in (*(pod["spec"] for pod in pods), _reel_pod(_job_template())):
        mounted = {mount["name"] for box in spec["containers"] for mount in box.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in spec.get("volumes", [])}
        for volume in spec.get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
        for box in spec["containers"]:
            assert {"configMapRef": {"name": "dailies"}} in box["envFrom"]
            assert {"secretRef": {"name": "dailies"}} in box["envFrom"]
    text = (DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"- (\S+\.yaml)", text)) == {path.name for path in MANIFESTS} - {"kustomization.yaml"}


def _job_template() -> dict[str, Any]:
    template: dict[str, Any] = json.loads((DEPLOY / "kubernetes" / "gpu-job-template.json").read_text(encoding="utf-8"))
    return template


def _job(template: dict[str, Any]) -> dict[str, Any]:
    """The Job that Prefect makes of the template: its variables' defaults put in, what has none left out."""
    variables = template["variables"]["properties"]
    values = {name: field["default"] for name, field in variables.items() if field.get("default") is not None}
    values |= {"name": "reel-01", "labels": {}, "annotations": {}}
    made: dict[str, Any] = apply_values(template["job_configuration"], values)
    job: dict[str, Any] = made["job_manifest"]
    box = job["spec"]["template"]["spec"]["containers"][0]
    # as Prefect's Kubernetes worker turns both into the form of a manifest
    box["env"] = [{"name": name, "value": value} for name, value in box["env"].items()]
    box["args"] = shlex.split(box["args"])
    return job


def _reel_pod(template: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = _job(template)["spec"]["template"]["spec"]
    return spec


def test_the_job_template_makes_a_job() -> None:
    """Its variables are a JSON schema, everything it names is one of them, and what comes out is a valid Job."""
    template = _job_template()
    jsonschema.Draft202012Validator.check_schema(template["variables"])
    named = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert named == set(template["variables"]["properties"])
    job = _job(template)
    assert "{{" not in json.dumps(job)
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    assert find_spec(job["spec"]["template"]["spec"]["containers"][0]["args"][2])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_units_are_valid(tmp_path: Path) -> None:
    """systemd takes every unit without a word, for this installation; a word that it does not know would be told."""
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        text = text.replace("/opt/dailies/.venv/bin/python", sys.executable).replace("User=dailies", "User=root")
        text = text.replace("/opt/dailies/.venv/bin/prefect", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    (tmp_path / "dailies-gpu@0.service").symlink_to("dailies-gpu@.service")
    names = [path.name for path in UNITS if "@" not in path.name] + ["dailies-gpu@0.service"]
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(verify, capture_output=True, text=True, cwd=tmp_path)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "dailies" in line]
    assert not ours
    wrong = tmp_path / "dailies-cpu.service"
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("KillMode=", "KillMood="), encoding="utf-8")
    done = subprocess.run(verify, capture_output=True, text=True, cwd=tmp_path)
    assert "KillMood" in done.stderr


def test_the_page_is_true_of_the_files() -> None:
    """deploy/README.md names every file of deploy/, every service and every unit, and no file that is not there."""
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    kept = {path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    for path in kept - {DEPLOY / "README.md", DEPLOY / ".env", DEPLOY / "env"}:
        assert path.name in page, path
    for name in SERVICES:
        assert f"`{name}`" in page, name
    for name in re.findall(r"`((?:deploy/)?(?:docker|kubernetes|systemd)/[\w.@-]+)`", page):
        assert (DEPLOY / name.removeprefix("deploy/")).exists(), name
