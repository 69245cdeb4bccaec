"""The layer itself: rights, then rules, then one fault, around an emulator's application.

It stands in the emulator's own process as middleware (ASGI for MiniStack, WSGI for moto). So boto3, the
lean client and Ansible all meet it, and a call takes no second way over a socket.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from kon.backends.emulator.strict import dynamodb, ec2, late, limits, s3, sqs  # noqa: F401 - rules
from kon.backends.emulator.strict.calls import Call, Refusal, Reply, Request, call_of, refused
from kon.backends.emulator.strict.faults import Fault, empty_answer, refusal_of
from kon.backends.emulator.strict.rights import IamPolicy, TagsOf, denial, needs_of, no_tags
from kon.backends.emulator.strict.rules import RULES, TRACKERS, Account, by_call

CONTROL: Final = "/_strict/"
"""What the layer's own pages begin with: `state`, `reset`, `set`."""

_RESETS: Final = frozenset({"/_ministack/reset", "/moto-api/reset"})
_MOST_CALLS: Final = 100_000


class Settings(msgspec.Struct):
    """off: names of rules that do not count. policies: documents by the access keys that they bind; other
    keys may do all. limits: see Account. owners: accounts of buckets that are somebody else's."""

    off: list[str] = []
    policies: dict[str, list[dict[str, Any]]] = {}
    limits: dict[str, int] = {}
    owners: dict[str, str] = {}
    fault: Fault | None = None


class Made(msgspec.Struct, frozen=True):
    """A call that came. needs: actions on resources. answer: the code of a refusal, or ""."""

    call: str
    key_id: str
    needs: list[str]
    answer: str


class State(msgspec.Struct, frozen=True):
    """calls: since the last reset. met: how often each rule had a say. hits: what the fault has met."""

    calls: list[Made]
    met: dict[str, int]
    hits: list[str]


class Verdict(msgspec.Struct):
    """What becomes of a call. reply: in place of the emulator's. drop: the connection ends without a reply;
    with `after`, once the emulator has done the call. watched: the reply has to come by `after`."""

    call: Call | None = None
    reply: Reply | None = None
    drop: bool = False
    after: Fault | None = None
    watched: bool = False


class Strict:
    """For any thread. account_id: whose account the emulator plays. tags_of: of EC2's things."""

    def __init__(self, account_id: str, settings: Settings | None = None, tags_of: TagsOf = no_tags) -> None:
        self._account_id = account_id
        self._tags_of = tags_of
        self._settings = settings or Settings()
        self._lock = threading.Lock()
        self._rules: Mapping[str, list[Any]] = {}
        self._policies: dict[str, IamPolicy] = {}
        self._numbers: Counter[str] = Counter()
        self._met: Counter[str] = Counter()
        self._hits: list[str] = []
        self._calls: list[Made] = []
        self._reset()
        self._apply(self._settings)

    @property
    def account(self) -> Account:
        """What it remembers."""
        return self._account

    def begin(self, request: Request) -> Verdict:
        """Before the emulator sees it."""
        if request.path.startswith(CONTROL):
            return Verdict(reply=self._control(request))
        if request.path in _RESETS:
            with self._lock:
                self._reset()
            return Verdict()
        call = call_of(request)
        if call is None:
            return Verdict()
        with self._lock:
            return self._judge(call)

    def end(self, verdict: Verdict, reply: Reply) -> Verdict:
        """After the emulator has answered a call that is watched."""
        call = verdict.call
        assert call is not None
        with self._lock:
            if reply.ok:
                for track in TRACKERS.get(call.name, ()):
                    track(call, self._account, reply)
                if call.name == "s3:CreateBucket":
                    self._own(call.parameters["Bucket"])
            for rule in self._rules.get(call.name, ()):
                if rule.change is not None:
                    changed = rule.change(call, self._account, reply)
                    if changed is not None:
                        self._met[rule.name] += 1
                        reply = changed
        return _with_fault(verdict, call, reply)

    # --- judging -------------------------------------------------------------------------------------

    def _judge(self, call: Call) -> Verdict:
        self._numbers[call.name] += 1
        fault = self._settings.fault
        if fault is not None and not fault.meets(call.name, self._numbers[call.name]):
            fault = None
        policy = self._policies.get(call.key_id)
        needs = needs_of(call, self._account_id, self._tags_of) if policy is not None else []
        if policy is not None and (need := policy.first_denied(needs)) is not None:
            self._note(call, needs, f"denied {need.action} on {need.resource}")
            return Verdict(call, refused(call, denial(call, need)))
        if fault is not None and (verdict := self._at_fault(call, fault)) is not None:
            self._note(call, needs, fault.kind)
            return verdict
        for rule in self._rules.get(call.name, ()):
            answer = None if rule.check is None else rule.check(call, self._account)
            if answer is None:
                continue
            self._met[rule.name] += 1
            if isinstance(answer, Refusal):
                self._note(call, needs, answer.code)
                return Verdict(call, refused(call, answer))
            self._note(call, needs, "" if fault is None else fault.kind)
            return _with_fault(Verdict(call, after=fault), call, answer)
        self._note(call, needs, "" if fault is None else fault.kind)
        watched = call.name in TRACKERS or call.name in self._rules or fault is not None
        return Verdict(call, after=fault, watched=watched)

    def _at_fault(self, call: Call, fault: Fault) -> Verdict | None:
        """None where the emulator has to do the call first, or the fault says nothing of it."""
        kind = fault.kind
        self._hits.append(call.name)
        if kind == "interrupted":
            self._settings.fault = None  # once, however often the call is tried
            _signal(fault.pid, signal.SIGINT)
            return None
        if kind == "killed":
            _signal(fault.pid, signal.SIGKILL)
            return Verdict(call, drop=True)
        if kind == "lost":
            return Verdict(call, drop=True)
        if kind == "empty":
            body = empty_answer(call)
            if body is None:
                return None
            headers = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(body))}
            return Verdict(call, Reply(200, headers, body))
        if kind == "garbled":
            page = b"<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n"
            headers = {"content-type": "text/html", "content-length": str(len(page))}
            return Verdict(call, Reply(502, headers, page))
        if kind in ("killed_after", "lost_after", "failed_after"):
            return None
        answer = refusal_of(fault, call)
        return None if answer is None else Verdict(call, refused(call, answer))

    def _note(self, call: Call, needs: Collection[Any], answer: str) -> None:
        if len(self._calls) < _MOST_CALLS:
            told = list(dict.fromkeys(f"{need.action} on {need.resource}" for need in needs))
            self._calls.append(Made(call.name, call.key_id, told, answer))

    # --- its own pages -------------------------------------------------------------------------------

    def _control(self, request: Request) -> Reply:
        with self._lock:
            word = request.path.removeprefix(CONTROL)
            if word == "state":
                body = msgspec.json.encode(State(self._calls, dict(self._met), self._hits))
                return _page(200, body)
            if word == "reset":
                self._reset()
                return _page(200, b"{}")
            if word == "set" and request.method == "POST":
                try:
                    settings = msgspec.json.decode(request.body, type=Settings)
                    self._apply(settings)
                except (msgspec.DecodeError, ValueError, KeyError) as error:
                    return _page(400, str(error).encode())
                return _page(200, b"{}")
            return _page(404, b"{}")

    def _apply(self, settings: Settings) -> None:
        unknown = [name for name in settings.off if name not in RULES]
        if unknown:
            raise ValueError(f"no rule is called {', '.join(unknown)}")
        self._policies = {key: IamPolicy(*documents) for key, documents in settings.policies.items()}
        self._rules = by_call(rule for name, rule in RULES.items() if name not in settings.off)
        self._settings = settings
        self._account.limits = dict(settings.limits)
        self._numbers, self._hits = Counter(), []
        for bucket in self._account.of("bucket"):
            bucket.about.pop("owner", None)
            self._own(bucket.name)

    def _own(self, bucket: str) -> None:
        owner = self._settings.owners.get(bucket)
        thing = self._account.get("bucket", bucket)
        if owner is not None and thing is not None:
            thing.about["owner"] = owner

    def _reset(self) -> None:
        self._account = Account(self._account_id, limits=dict(self._settings.limits))
        self._numbers, self._met = Counter(), Counter()
        self._hits, self._calls = [], []


def _with_fault(verdict: Verdict, call: Call, reply: Reply) -> Verdict:
    """What becomes of a reply once the call is done."""
    fault = verdict.after
    if fault is None:
        return Verdict(call, reply)
    if fault.kind == "killed_after":
        _signal(fault.pid, signal.SIGKILL)
    if fault.kind == "failed_after":
        answer = refusal_of(fault, call)
        assert answer is not None
        return Verdict(call, refused(call, answer))
    return Verdict(call, drop=True)


def _page(status: int, body: bytes) -> Reply:
    return Reply(status, {"content-type": "application/json", "content-length": str(len(body))}, body)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has ended meanwhile
