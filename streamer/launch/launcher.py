"""The launcher: starts what is approved, follows the runs, and reports what came of them.

    approved ─ launch ─► started (run, link) ─ look ─► trained | failed
    trained  ─ review ─► promote                    promoted ─► release target
    rejected, withdrawn, expired ─► cancel

Each step is a call outside the fold, and its result a control record. What a crash leaves unreported is done again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from retrain.messages.patterns import first_match
from retrain.messages.request import RequestState
from streamer.clock import Clock
from streamer.events import time_of
from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, Target, TargetDown, TargetRefused, Tools
from streamer.launch.calls import Calls, Step, TaskWork, retry_in_s
from streamer.launch.ledger import TO_CANCEL, Ledger, Report, Task, checked_report, serves_already
from streamer.launch.settings import LaunchRule, chosen, verdict
from streamer.launch.targets import target_class
from streamer.launch.targets.mlflow import CHALLENGER, CHAMPION, Mlflow
from streamer.launch.targets.webhook import release
from streamer.logs import log_of, one_line
from streamer.telemetry.table import LAUNCH_OUTCOMES, RUN_STATES

if TYPE_CHECKING:
    from streamer.telemetry.metrics import Metrics

log = log_of("launch")

ACTOR: Final = "driftline-launch"
REVIEWER: Final = "driftline-review"
WAIT_MAX_S: Final = 600.0  # a request that waits longer for its run, with room for it, is overdue
REPORT_GRACE_S: Final = 60.0  # from the end of a run to when nobody is expected to report it any more
COMMENT_MAX: Final = 2_000
MODELS_MAX: Final = 131_072  # whose rule is remembered
FOLLOW_UPS: Final = frozenset({"reference", CHALLENGER, CHAMPION, "release"})
_S = RequestState
_ALIASES: Final = {_S.TRAINED: CHALLENGER, _S.AWAITING_REVIEW: CHALLENGER, _S.WATCHING: CHAMPION}


KeepReference = Callable[[LaunchRequest, str], object]


class Launcher:
    """Works through the tasks of a ledger. `turn` is called again and again; between, `ledger` takes records in."""

    def __init__(
        self,
        ledger: Ledger,
        rules: Mapping[str, LaunchRule],
        tools: Tools,
        clock: Clock,
        report: Callable[[list[Report]], None],
        keep_reference: KeepReference | None = None,
    ) -> None:
        """`report` appends control records to the log and returns when they are there. It raises once a later launcher
        has taken over, also without records: so it is called before anything is launched. `keep_reference` stores what
        the challenger with this version was trained on; it raises as targets do.
        """
        self.ledger, self._tools, self._clock = ledger, tools, clock
        self._report, self._keep_reference = report, keep_reference
        self._rule_for = lru_cache(MODELS_MAX)(partial(first_match, rules))
        self._targets: dict[int, Target] = {}
        self._work: dict[str, TaskWork] = {}
        self.calls = Calls()
        self._running: Counter[int] = Counter()
        self._is_ours = False  # whether this turn has shown that no later launcher has taken over
        self.counts: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()  # of `counts`, what metrics show

    def turn(self) -> None:
        """Take in what the calls have given, report it, and make the next calls."""
        reports = self._collect()
        self._running, self._is_ours = self._count_running(), False
        for request_id, task in [*self.ledger.tasks.items()]:
            reports += self._next(request_id, task)
        self.publish(reports)
        for request_id in [one for one in self._work if one not in self.ledger.tasks and not self._work[one].busy]:
            del self._work[request_id]

    def close(self) -> None:
        """Wait for the calls that are on their way, and report what they gave."""
        self.calls.close()
        self.publish(self._collect())

    def look_now(self, request_id: str) -> None:
        """Look at a run with the next turn, unless its target is down."""
        if (work := self._work.get(request_id)) is not None and not work.tries:
            work.next_s = 0.0

    def reports_of(self, request_id: str, raw: bytes) -> list[Report]:
        """The record for the report of a trainer; none for a further one about the same run."""
        task = self.ledger.tasks.get(request_id)
        work = self._work.setdefault(request_id, TaskWork(since_s=self._clock.monotonic_s()))
        if task is None or task.request is None or "report" in work.said:
            return []
        work.said |= {"report", "end"}
        self.counts["reported"] += 1
        return [checked_report(raw, task.request, int(self._clock.now_s() * 1000))]

    def publish(self, reports: list[Report]) -> None:
        """Append reports, if there are any; returns when they are in the log."""
        if reports:
            self._report(reports)

    def show(self, metrics: Metrics) -> None:
        """Set the metrics of `LAUNCH_TABLE`."""
        ages: dict[str, list[float]] = {state: [] for state in RUN_STATES}
        overdue: Counter[str] = Counter()
        for request_id, task in self.ledger.tasks.items():
            rule, work = self._rule_of(task), self._work.get(request_id)
            if rule is None or rule.train is None or task.state not in {_S.APPROVED, _S.TRAINING}:
                continue
            if task.started_at is not None:
                age_s = self._clock.now_s() - task.started_at.timestamp()
                state, is_overdue = "running", age_s > rule.timeout_s / 2
            else:
                age_s = self._clock.monotonic_s() - work.since_s if work else 0.0
                state, is_overdue = "waiting", age_s > WAIT_MAX_S and self._running[id(rule)] < rule.running_max
            ages[state].append(age_s)
            overdue[state] += is_overdue
        for state, of_state in ages.items():
            metrics.set("driftline_runs", len(of_state), state)
            metrics.set("driftline_run_age_seconds", max(of_state, default=0.0), state)
            metrics.set("driftline_runs_overdue", overdue[state], state)
        for outcome in LAUNCH_OUTCOMES:
            metrics.add("driftline_launch_total", self.counts[outcome] - self._shown[outcome], outcome)
        self._shown = self.counts.copy()

    def _next(self, request_id: str, task: Task) -> list[Report]:
        """The next call of a task, or reports that need none."""
        rule = self._rule_of(task)
        work = self._work.setdefault(request_id, TaskWork(since_s=self._clock.monotonic_s()))
        is_off = task.state in TO_CANCEL
        waits = self._clock.monotonic_s() < work.next_s and (work.tries > 0 or not is_off)
        if work.busy or waits:
            return []
        if is_off:
            self._cancel(request_id, task, rule, work)
        elif rule is None or task.request is None:
            return []
        elif task.state in {_S.APPROVED, _S.TRAINING}:
            self._train(request_id, task, rule, work)
        elif task.state is _S.TRAINED and rule.review is not None and not task.reviewed:
            return self._review(request_id, task, rule)
        else:
            self._follow_up(request_id, task, rule, work)
        return []

    def _follow_up(self, request_id: str, task: Task, rule: LaunchRule, work: TaskWork) -> None:
        """Keep a challenger's reference, then tell registry and release target of it; each once in this process."""
        steps: dict[str, Callable[[], Any]] = {}
        request, version = task.request, task.challenger_version
        if request is None:
            return
        is_new = not serves_already(version, request)
        alias = _ALIASES.get(task.state) if task.state else None
        if self._keep_reference is not None and version and alias and is_new:
            steps["reference"] = partial(self._keep_reference, request, version)
        if rule.registry is not None and version and alias and (is_new or alias == CHAMPION):
            registry = Mlflow(chosen(rule.registry)[1], self._tools)
            steps[alias] = partial(registry.set_alias, request, alias, version)
        if rule.release is not None and task.state is _S.WATCHING:
            settings = chosen(rule.release)[1]
            steps["release"] = partial(release, settings, request, version, self._tools, self._clock)
        for kind, call in steps.items():
            if kind not in work.said:
                self._call(kind, request_id, work, call)
                return

    def _train(self, request_id: str, task: Task, rule: LaunchRule, work: TaskWork) -> None:
        """Start the run of a request that is approved, or look at it, unless its end is reported."""
        if "end" in work.said or task.request is None or rule.train is None:
            return
        if task.run is None:
            if task.state is _S.APPROVED and self._running[id(rule)] < rule.running_max:
                self._running[id(rule)] += 1
                if not self._is_ours:
                    self._report([])
                    self._is_ours = True
                self._call("launch", request_id, work, partial(self._target(rule).launch, task.request))
        elif self._is_of(rule, task.run):
            kind, method = ("end", "cancel") if self._is_overdue(task, rule) else ("look", "look")
            self._call(kind, request_id, work, partial(getattr(self._target(rule), method), task.run.bare))

    def _cancel(self, request_id: str, task: Task, rule: LaunchRule | None, work: TaskWork) -> None:
        """Cancel the run of a request that is over, unless there is none or it has long ended by itself."""
        run = task.run
        if rule is None or run is None or task.cancelled or self._is_overdue(task, rule) or not self._is_of(rule, run):
            self.ledger.end(request_id)
        else:
            self._call("cancel", request_id, work, partial(self._target(rule).cancel, run.bare))

    def _review(self, request_id: str, task: Task, rule: LaunchRule) -> list[Report]:
        task.reviewed = True
        is_better, text = verdict(rule.review, task.champion, task.challenger) if rule.review else (False, "")
        if why := task.request and serves_already(task.challenger_version, task.request):
            is_better, text = False, f"not judged: {why}"
        log.info("%s: %s", request_id, text)
        if not is_better:
            return []
        self.counts["promoted"] += 1
        return [self._record("promote", request_id, text, actor=REVIEWER, model_version=task.challenger_version)]

    def _call(self, kind: str, request_id: str, work: TaskWork, call: Callable[[], Any]) -> None:
        work.busy = True
        task = self.ledger.tasks.get(request_id)
        self.calls.start(task and id(self._rule_of(task)), (kind, request_id), call)

    def _collect(self) -> list[Report]:
        """The reports of calls that have ended."""
        reports: list[Report] = []
        for step, future in self.calls.ended():
            kind, request_id = step
            work, task = self._work[request_id], self.ledger.tasks.get(request_id)
            work.busy = False
            try:
                result = future.result()
            except TargetRefused as refused:
                reports += self._refused(step, work, task, str(refused))
            except TargetDown as down:
                self._retry(kind, request_id, work, down)
            except Exception as problem:  # what a target does not expect must not end the others
                reason = f"the answer can't be used: {type(problem).__name__}: {problem}"
                self._retry(kind, request_id, work, TargetDown(reason))
            else:
                work.tries = 0
                reports += self._ended(kind, request_id, work, task, result)
        return reports

    def _refused(self, step: Step, work: TaskWork, task: Task | None, reason: str) -> list[Report]:
        """What follows when a target will not do something, however often it is called."""
        kind, request_id = step
        if kind == "look":  # the run may go on; `timeout_s` bounds it
            self._retry(kind, request_id, work, TargetDown(reason))
            return []
        self.counts["refused"] += 1
        if kind == "launch":
            return self._failed(request_id, work, f"the target refuses the run: {reason}")
        if kind == "end" and task is not None:
            return self._failed(request_id, work, f"{self._too_long(task)}; it can't be cancelled: {reason}")
        log.error("%s: %s is refused and not tried again: %s", request_id, kind, one_line(reason))
        work.said.add(kind)
        if task is not None:
            task.cancelled |= kind == "cancel"
        return []

    def _ended(self, kind: str, request_id: str, work: TaskWork, task: Task | None, result: Any) -> list[Report]:
        if task is None:
            return []
        if kind == "launch":
            return self._launched(request_id, task, result)
        if kind in FOLLOW_UPS:
            work.said.add(kind)
            self.counts[kind] += 1
            log.info("%s: %s is done", request_id, kind)
            return []
        if kind == "cancel":
            log.info("%s is %s: its run %s is cancelled", request_id, task.state, task.run and task.run.ref)
            self.counts["cancelled"] += 1
            task.cancelled = True
            return []
        if kind == "end":
            return self._failed(request_id, work, f"{self._too_long(task)}; it is cancelled")
        rule = self._rule_of(task)
        work.next_s = self._clock.monotonic_s() + (rule.poll_s if rule else 0.0)
        return self._looked(request_id, work, result)

    def _launched(self, request_id: str, task: Task, run: Run) -> list[Report]:
        rule = self._rule_of(task)
        run = Run(f"{chosen(rule.train)[0]}:{run.ref}" if rule else run.ref, run.link)
        task.run, task.started_at = run, time_of(int(self._clock.now_s() * 1000))
        self.counts["launched"] += 1
        log.info("%s has started: %s", request_id, run.link or run.ref)
        return [self._record("started", request_id, f"run {run.ref}", run=run.ref, link=run.link)]

    def _looked(self, request_id: str, work: TaskWork, status: RunStatus) -> list[Report]:
        """What a look at a run gives to report. The report of the trainer goes before everything else."""
        if status.report is not None and (reports := self.reports_of(request_id, status.report)):
            return reports
        if status.state is RunState.FAILED:
            return self._failed(request_id, work, status.reason or "the run failed")
        if status.state is RunState.GONE:
            return self._failed(request_id, work, f"the run has vanished: {status.reason}")
        if status.state is not RunState.SUCCEEDED or "end" in work.said:
            return []
        now_s = self._clock.monotonic_s()
        work.succeeded_s = work.succeeded_s if work.succeeded_s is not None else now_s
        if now_s - work.succeeded_s < REPORT_GRACE_S:
            return []
        work.said.add("end")
        return [self._record("trained", request_id, f"the run ended well and reported no metrics: {status.reason}")]

    def _failed(self, request_id: str, work: TaskWork, reason: str) -> list[Report]:
        if "end" in work.said:
            return []
        work.said.add("end")
        self.counts["failed"] += 1
        log.warning("%s has failed: %s", request_id, one_line(reason))
        return [self._record("failed", request_id, reason)]

    def _retry(self, kind: str, request_id: str, work: TaskWork, down: TargetDown) -> None:
        wait_s = retry_in_s(work.tries, down.after_s)
        work.tries += 1
        work.next_s = self._clock.monotonic_s() + wait_s
        self.counts["retried"] += 1
        words = "%s: the target can't %s now, next try in %.0f s: %s"
        log.warning(words, request_id, kind, wait_s, one_line(str(down)))

    def _too_long(self, task: Task) -> str:
        rule = self._rule_of(task)
        return f"the run took longer than timeout_s, {rule.timeout_s if rule else 0.0:.0f} s"

    def _is_overdue(self, task: Task, rule: LaunchRule) -> bool:
        at_s = task.started_at.timestamp() if task.started_at else math.inf
        return self._clock.now_s() - at_s > rule.timeout_s

    def _count_running(self) -> Counter[int]:
        """The runs of each rule, by its identity, with those that are being started."""
        return Counter(
            id(self._rule_of(task))
            for one, task in self.ledger.tasks.items()
            if task.state in {_S.APPROVED, _S.TRAINING}
            and (task.run is not None or (one in self._work and self._work[one].busy))
        )

    @staticmethod
    def _is_of(rule: LaunchRule, run: Run) -> bool:
        """Whether a run is of the target that the rule names now."""
        return rule.train is not None and run.ref.startswith(f"{chosen(rule.train)[0]}:")

    def _rule_of(self, task: Task) -> LaunchRule | None:
        return None if task.request is None else self._rule_for(task.request.model_id)

    def _target(self, rule: LaunchRule) -> Target:
        if id(rule) not in self._targets:
            name, settings = chosen(rule.train)
            self._targets[id(rule)] = target_class(name)(settings, self._tools)
        return self._targets[id(rule)]

    def _record(self, kind: str, request_id: str, comment: str, actor: str = ACTOR, **fields: Any) -> Report:
        named = {"kind": kind, "request_id": request_id, "at": time_of(int(self._clock.now_s() * 1000)), "actor": actor}
        return {**named, "comment": comment[:COMMENT_MAX], **fields}
