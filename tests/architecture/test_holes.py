"""The thirty holes that are known in the system whose contract Windlass keeps: each has tests here that pass.

What is named is looked for, so that no hole loses its test by a change of names; the tests themselves are run where
they stand, on every database that they are about.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HOLES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "runs over the concurrency limit are lost",
        (
            "http/test_concurrency.py::test_runs_over_a_limit_wait_and_then_run",
            "engine/test_queues.py::test_a_place_that_becomes_free_is_taken_at_once",
        ),
    ),
    2: (
        "a restart leaves what is queued queued for ever",
        (
            "engine/test_processes.py::test_a_dead_process_s_runs_are_taken_over_by_a_living_one",
            "contexts/test_processing.py::test_work_goes_on_after_a_restart",
        ),
    ),
    3: (
        "a step that takes long is executed twice",
        (
            "storage/test_doorbells.py::test_a_kept_lease_lives_and_one_let_go_can_be_taken_over",
            "engine/test_processes.py::test_the_start_of_a_long_step_is_written_while_it_runs",
        ),
    ),
    4: (
        "what goes on for another's run ends with the run that found it",
        ("storage/test_takeover.py::test_the_runs_of_a_dead_holder_go_back_to_their_queue",),
    ),
    5: ("the time given to people never runs out", ("contexts/people/test_time_outs.py::test_nobody_comes_in_time",)),
    6: (
        "a retry fails, or skips the failed step",
        ("engine/test_definitions.py::test_a_failed_run_is_retried_at_its_failed_step_with_all_it_knew",),
    ),
    7: ("pausing a queued run kills it", ("engine/test_pausing.py::test_a_run_that_has_not_begun_can_be_paused",)),
    8: (
        "ends are not final",
        (
            "storage/test_control.py::test_the_outcome_of_a_run_survives_what_is_refused",
            "storage/test_journal.py::test_nothing_is_written_after_the_end",
        ),
    ),
    9: (
        "a pause or a cancellation during the last step fails the run",
        (
            "engine/test_pausing.py::test_the_running_step_is_finished_and_kept_and_no_other_starts",
            "engine/test_cancelling.py::test_a_held_run_is_cancelled_with_its_running_step",
        ),
    ),
    10: (
        "what is approved twice goes on twice",
        (
            "contexts/people/test_deciding.py::test_a_second_decision_is_a_conflict",
            "contexts/people/test_deciding.py::test_of_many_at_once_one_decides",
        ),
    ),
    11: (
        "after a wait, templates and outputs are gone",
        ("http/test_workflow_runs.py::test_an_approval_goes_on_with_all_that_was_known",),
    ),
    12: (
        "what goes on after a decision is lost with its process",
        ("http/test_people.py::test_a_question_outlives_the_server",),
    ),
    13: (
        "status, event, step and webhook are not one transaction",
        (
            "contexts/test_webhooks.py::test_a_webhook_is_queued_with_its_transaction_or_not_at_all",
            "simulation/test_exhaustive.py::test_whatever_becomes_of_a_commit_the_run_ends_rightly",
        ),
    ),
    14: (
        "a webhook that is refused counts as delivered",
        ("contexts/test_webhooks.py::test_whoever_fails_is_told_again_until_it_has_heard",),
    ),
    15: (
        "events written at once lose their numbers",
        ("storage/test_concurrency.py::test_numbers_stay_gapless_whoever_writes",),
    ),
    16: (
        "a dead letter that is due today waits for tomorrow",
        ("contexts/test_dead_letters.py::test_the_worker_takes_up_what_is_due_and_signs_it",),
    ),
    17: (
        "a dead letter to a denied host starves the server",
        ("contexts/test_dead_letters.py::test_the_worker_leaves_alone_what_the_policy_refuses",),
    ),
    18: (
        "dead letters cannot be listed or replayed on PostgreSQL",
        (
            "contexts/test_dead_letters.py::test_they_are_listed_and_filtered",
            "contexts/test_dead_letters.py::test_a_replay_that_is_heard_is_the_end_of_it",
        ),
    ),
    19: (
        "dead letters are tried without end, and unsigned",
        (
            "contexts/test_dead_letters.py::test_the_worker_gives_up_in_the_end",
            "contexts/test_dead_letters.py::test_the_worker_takes_up_what_is_due_and_signs_it",
        ),
    ),
    20: (
        "scheduled runs of saved workflows do nothing",
        ("http/test_schedules.py::test_a_saved_workflow_runs_with_all_its_steps",),
    ),
    21: (
        "an idempotency key starts two runs, or another's",
        (
            "http/test_workflow_runs.py::test_an_idempotency_key_starts_one_run",
            "storage/test_concurrency.py::test_one_of_many_starts_with_the_same_key_wins",
        ),
    ),
    22: (
        "a step that fails counts as one that succeeded",
        (
            "unit/workflows/test_calls.py::test_whatever_goes_wrong_fails_the_step",
            "http/test_outgoing_runs.py::test_a_call_that_fails_fails_the_run_and_that_is_told_until_it_is_heard",
        ),
    ),
    23: (
        "the item of a map is resolved before the map runs",
        ("engine/test_definitions.py::test_each_item_of_a_map_is_a_step_of_its_own",),
    ),
    24: (
        "a workflow cannot call another",
        (
            "engine/test_definitions.py::test_a_sub_workflow_is_a_run_of_its_own",
            "contexts/test_definition_store.py::test_sub_workflows_must_be_there",
        ),
    ),
    25: (
        "steps, attempts and investigation crash",
        ("http/test_workflow_runs.py::test_steps_attempts_and_an_investigation_tell_what_happened",),
    ),
    26: (
        "leases do not fence",
        (
            "storage/test_journal.py::test_a_holder_that_lost_its_run_to_another_writes_nothing",
            "storage/test_takeover.py::test_nobody_takes_from_the_living",
        ),
    ),
    27: (
        "two executions of a step in one millisecond collide",
        ("engine/test_first_steps.py::test_the_same_step_may_be_called_any_number_of_times",),
    ),
    28: (
        "a time-out has no text",
        ("engine/test_steps.py::test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again",),
    ),
    29: (
        "targets that are no steps, and ids that are there twice, are accepted",
        ("contexts/test_definition_rules.py::test_a_broken_rule_is_told_with_its_place",),
    ),
    30: (
        "a name and version that are there already are a server error on PostgreSQL",
        ("http/test_definitions.py::test_duplicates_are_422",),
    ),
}


@cache
def _tests_of(path: Path) -> frozenset[str]:
    found = ast.walk(ast.parse(path.read_text()))
    return frozenset(one.name for one in found if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def test_there_are_thirty() -> None:
    assert list(HOLES) == list(range(1, 31))


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole}: {HOLES[hole][0]}")
def test_a_hole_has_its_tests(hole: int) -> None:
    for named in HOLES[hole][1]:
        path, _, test = named.partition("::")
        assert test in _tests_of(ROOT / "tests" / path), named
