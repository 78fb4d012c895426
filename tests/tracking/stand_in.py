"""A small stand-in for the W&B server: enough of it for the unmodified client's runs and sweeps.

It answers on 127.0.0.1 what `wandb` 0.31 asks (GraphQL at ``/graphql``, told apart by the name of
the operation; ``file_stream`` of each run; uploads), keeps what it was told in memory, and hands
out the points of grid sweeps. What it does not know it answers with an error and notes in
``unknown``, so that a newer client fails visibly. It shows the client's side; it does not show how
wandb.ai schedules, checks keys, or draws.
"""

import base64
import itertools
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

ENTITY = "stand-in"
KEY = "k" * 40
"""The one key that is accepted."""


@dataclass
class SentRun:
    """What the client has sent of one run."""

    project: str
    name: str
    display_name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    sweep: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    num_begun: int = 0


@dataclass
class SentSweep:
    """A sweep, its points that nobody has run yet, and those that were given up to be resumed."""

    name: str
    project: str
    config: dict[str, Any]
    text: str
    points: list[dict[str, Any]]
    to_resume: list[str] = field(default_factory=list)
    num_given: int = 0


class StandIn:
    """The server; a context manager that listens while it is open."""

    def __init__(self) -> None:
        self.runs: dict[str, SentRun] = {}
        self.sweeps: dict[str, SentSweep] = {}
        self.agents: dict[str, str] = {}
        self.agents_of: dict[str, list[str]] = {}  # who was given a point, one after the other
        self.keeps_agents = False  # waiting for work when there is none, instead of ending
        self.operations: list[str] = []
        self.unknown: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Any) -> dict[str, str]:
        """Variables by which a client finds this server and nothing of its user's."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CONFIG_DIR": f"{home}/config",
            "WANDB_CACHE_DIR": f"{home}/cache",
            "WANDB_MODE": "online",
            "HOME": str(home),
        }

    def __enter__(self) -> "StandIn":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def run(self, name: str, project: str) -> SentRun:
        return self.runs.setdefault(name, SentRun(project=project, name=name))

    # Each answers the operation of its name.

    def viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        teams = {"edges": [{"node": {"id": "e1", "name": ENTITY, "isTeam": False}}]}
        return {
            "viewer": {
                "id": "v1", "entity": ENTITY, "username": ENTITY, "name": ENTITY,
                "email": "nobody@localhost", "admin": False, "flags": "{}", "teams": teams,
                "deletedAt": None, "apiKeys": {"edges": []},
            }
        }  # fmt: skip

    def server_features(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def upsert_bucket(self, asked: dict[str, Any]) -> dict[str, Any]:
        name, project = asked["name"], asked.get("project") or "uncategorized"
        is_new = name not in self.runs
        run = self.run(name, project)
        run.display_name = asked.get("displayName") or run.display_name
        run.group = asked.get("groupName") or run.group
        run.job_type = asked.get("jobType") or run.job_type
        run.tags = asked.get("tags") or run.tags
        run.sweep = asked.get("sweep") or run.sweep
        if asked.get("config"):
            run.config = {key: value["value"] for key, value in json.loads(asked["config"]).items()}
        if asked.get("state") == "preempting" or (run.state == "preempting"):
            run.state = "preempting"
        else:
            run.state = "running"
        run.num_begun += 1
        where = {"id": "p1", "name": project, "entity": {"id": "e1", "name": ENTITY}}
        bucket = {
            "id": f"bucket-{name}", "name": name, "displayName": run.display_name,
            "description": None, "config": asked.get("config") or "{}", "sweepName": run.sweep,
            "project": where, "historyLineCount": len(run.history),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def run_resume_status(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(asked["name"])
        if run is None:
            return {"model": {"id": "p1", "name": asked["project"], "bucket": None}}
        config = {key: {"value": value} for key, value in run.config.items()}
        bucket = {
            "id": f"bucket-{run.name}", "name": run.name,
            "summaryMetrics": json.dumps(run.summary), "displayName": run.display_name,
            "logLineCount": 0, "historyLineCount": len(run.history), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in run.history[-1:]]),
            "eventsTail": "[]", "config": json.dumps(config), "tags": run.tags,
            "wandbConfig": "{}",
        }  # fmt: skip
        entity = {"id": "e1", "name": ENTITY}
        return {"model": {"id": "p1", "name": run.project, "entity": entity, "bucket": bucket}}

    def create_run_files(self, asked: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{asked['run']}/{name}"}
            for name in asked["files"]
        ]
        return {
            "createRunFiles": {
                "runID": asked["run"], "uploadHeaders": [], "files": files,
            }
        }  # fmt: skip

    def organization(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def artifact_type(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def create_artifact(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say that it has the contents already: a table's file was sent with its run."""
        sequence = {"latestArtifact": None}
        artifact = {
            "id": asked["input"]["clientID"], "state": "COMMITTED", "artifactSequence": sequence,
        }  # fmt: skip
        return {"createArtifact": {"artifact": artifact}}

    def upsert_sweep(self, asked: dict[str, Any]) -> dict[str, Any]:
        project = asked.get("projectName") or "uncategorized"
        name = f"sweep{len(self.sweeps) + 1}"
        config = yaml.safe_load(asked["config"])
        values = {
            key: entry.get("values", [entry.get("value")])
            for key, entry in config["parameters"].items()
        }
        points = [
            dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
        ]
        self.sweeps[name] = SentSweep(name, project, config, asked["config"], points)
        where = {"id": "p1", "name": project, "entity": {"id": "e1", "name": ENTITY}}
        return {
            "upsertSweep": {
                "sweep": {"name": name, "project": where}, "configValidationWarnings": [],
            }
        }  # fmt: skip

    def sweep_with_runs(self, asked: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps.get(asked["sweep"])
        if sweep is None:
            return {"project": {"sweep": None}}
        body = {
            "id": sweep.name, "name": sweep.name, "method": sweep.config["method"],
            "state": self._state(sweep), "description": None, "config": sweep.text,
            "createdAt": "2020-01-01T00:00:00", "heartbeatAt": None, "updatedAt": None,
            "earlyStopJobRunning": False, "controller": None, "scheduler": None,
            "runs": {"edges": []},
        }  # fmt: skip
        return {"project": {"sweep": body}}

    def get_sweep(self, asked: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps.get(asked["name"])
        if sweep is None:
            return {"project": {"sweep": None}}
        body = {
            "__typename": "Sweep", "id": sweep.name, "name": sweep.name, "displayName": None,
            "method": sweep.config["method"], "state": self._state(sweep), "description": None,
            "bestLoss": None, "config": sweep.text, "createdAt": "2020-01-01T00:00:00",
            "updatedAt": None, "runCount": sweep.num_given, "runCountExpected": None,
        }  # fmt: skip
        return {"project": {"sweep": body}}

    def create_agent(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"agent{len(self.agents) + 1}"
        self.agents[name] = asked["sweep"]
        return {"createAgent": {"agent": {"id": name}}}

    def heartbeat(self, asked: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[self.agents[asked["id"]]]
        busy = json.loads(asked.get("runState") or "{}")
        command = None if busy else self._next(sweep, asked["id"])
        commands = [command] if command else []
        return {
            "agentHeartbeat": {
                "agent": {"id": asked["id"]}, "commands": json.dumps(commands),
            }
        }  # fmt: skip

    def _next(self, sweep: SentSweep, agent: str) -> dict[str, Any] | None:
        program = sweep.config.get("program")
        for name, run in self.runs.items():
            if run.sweep == sweep.name and run.state == "preempted":
                run.state = "resumed"
                self.agents_of[name].append(agent)
                args = {key: {"value": run.config[key]} for key in sweep.config["parameters"]}
                return {"type": "resume", "run_id": name, "program": program, "args": args}
        if not sweep.points:
            return None if self.keeps_agents else {"type": "exit"}
        point = sweep.points.pop(0)
        sweep.num_given += 1
        args = {key: {"value": value} for key, value in point.items()}
        run_id = f"{sweep.name}run{sweep.num_given}"
        self.agents_of[run_id] = [agent]
        return {"type": "run", "run_id": run_id, "program": program, "args": args}

    def _state(self, sweep: SentSweep) -> str:
        return "RUNNING" if sweep.points else "FINISHED"

    def take_stream(self, run: SentRun, body: dict[str, Any]) -> None:
        """Keep what a run streams: lines of history, its summary, and how it ended."""
        for name, part in body.get("files", {}).items():
            if name == "wandb-history.jsonl":
                run.history += [json.loads(line) for line in part["content"]]
            if name == "wandb-summary.json":
                run.summary = json.loads(part["content"][-1])
        if body.get("preempting"):
            run.state = "preempting"
        if body.get("complete"):
            run.exit_code = body["exitcode"]
            stopped = run.state == "preempting" and run.exit_code
            ended = "finished" if run.exit_code == 0 else "failed"
            run.state = "preempted" if stopped else ended


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = stand_in

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that leave without a word; anything else is a fault of this file."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


OPERATIONS = {
    "Viewer": StandIn.viewer,
    "GetViewer": StandIn.viewer,
    "GetDefaultEntity": StandIn.viewer,
    "ServerFeaturesQuery": StandIn.server_features,
    "UpsertBucket": StandIn.upsert_bucket,
    "RunResumeStatus": StandIn.run_resume_status,
    "CreateRunFiles": StandIn.create_run_files,
    "OrganizationCoreWeaveOrganizationID": StandIn.organization,
    "ArtifactType": StandIn.artifact_type,
    "CreateArtifact": StandIn.create_artifact,
    "UpsertSweep": StandIn.upsert_sweep,
    "GetSweep": StandIn.get_sweep,
    "SweepWithRuns": StandIn.sweep_with_runs,
    "CreateAgent": StandIn.create_agent,
    "Heartbeat": StandIn.heartbeat,
}


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.stand_in.lock:
            if self.path == "/graphql":
                self._answer(*self._graphql(json.loads(body)))
            elif stream := re.fullmatch(r"/files/[^/]+/([^/]+)/([^/]+)/file_stream", self.path):
                self.server.stand_in.take_stream(
                    self.server.stand_in.run(stream[2], stream[1]), json.loads(body)
                )
                self._answer(200, {})
            else:
                # What the client reports of its own use is not asked for.
                if not self.path.startswith("/sdk/otel/"):
                    self.server.stand_in.unknown.append(f"POST {self.path}")
                self._answer(404, {})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upload = re.fullmatch(r"/upload/([^/]+)/(.+)", self.path)
        with self.server.stand_in.lock:
            if upload:
                self.server.stand_in.runs[upload[1]].files[upload[2]] = body
            else:
                self.server.stand_in.unknown.append(f"PUT {self.path}")
        self._answer(200 if upload else 404, {})

    def do_GET(self) -> None:
        self.server.stand_in.unknown.append(f"GET {self.path}")
        self._answer(404, {})

    def _graphql(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", body["query"])
        name = found[1] if found else body["query"][:60]
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode().rpartition(":")[2] != KEY:
            return 401, {"errors": [{"message": "invalid key"}]}
        self.server.stand_in.operations.append(name)
        if name not in OPERATIONS:
            self.server.stand_in.unknown.append(f"{name} {json.dumps(body.get('variables'))[:200]}")
            return 200, {"errors": [{"message": f"the stand-in does not know {name}"}]}
        return 200, {"data": OPERATIONS[name](self.server.stand_in, body.get("variables") or {})}

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
