"""The report of `bench accuracy` as tables for people and as JSON for programs."""

from __future__ import annotations

from monitor.bench.accuracy import SOON_S, Figures, Genuine, Mean, Pairs, Report
from monitor.bench.breakdown import GroupLine
from monitor.bench.judging import LARGE_PX, Case
from monitor.bench.tables import (
    finite,
    interval_json,
    interval_text,
    number,
    share_interval_text,
    share_json,
    share_text,
    table,
)
from monitor.results import Json
from monitor.settings import Sensitivity
from monitor.wording import rate_support

SCHEMA = "unmask.accuracy/2"
MAX_ROWS = 500
"""Rows of the table of cases; the JSON holds all."""


def accuracy_table(report: Report) -> str:
    """Ranking, operating point, real recordings, pairs, groups and rows, each with what it means."""
    parts = [
        _ranking(report),
        _operating_point(report),
        _real_recordings(report),
        *([_pairs(report)] if report.pairs else []),
        _groups(report),
        _rows(report),
    ]
    judged = next((case for case in report.cases if case.model_id), None)
    if judged is not None:
        parts.append(f"Model {judged.model_id} on {judged.runtime}, sensitivity {report.sensitivity}.")
    parts += [f"Not read: {case.row.name}: {case.error}" for case in report.cases if case.error is not None]
    return "\n\n".join(parts)


def _ranking(report: Report) -> str:
    header = ("family", "real", "fake", "AUC [95 %]", "EER", "TPR@1%", "rows judged", "faces >64 px", "against")
    rows = [_ranking_row(one, report.overall.against) for one in report.families]
    rows += [
        (one.name, str(one.reals), str(one.fakes), interval_text(one.auc), "-", "-", "-", "-", f"{len(one.families)}")
        for one in report.means
    ]
    rows.append(_ranking_row(report.overall, report.overall.against))
    return "\n".join(
        [
            table(header, rows),
            "Ranking, over recordings. Intervals: bootstrap over groups. TPR@1%: share of the fakes over the threshold "
            f"that 1 % of the reals reach. faces >64 px: share of the samples with a face of {LARGE_PX:.0f} px and "
            "more that a judged window holds. against: the families whose reals the fakes are compared with (of a "
            "mean: how many families).",
        ]
    )


def _ranking_row(one: Figures, everything: tuple[str, ...]) -> tuple[str, ...]:
    return (
        one.family,
        str(one.reals),
        str(one.fakes),
        interval_text(one.auc),
        number(one.eer),
        number(one.strict_tpr),
        f"{100 * one.coverage:.0f} %",
        _percent(one.large.share),
        "all reals" if one.against == everything else " ".join(one.against) or "-",
    )


def _operating_point(report: Report) -> str:
    soon = f"flagged <={SOON_S:.0f} s"
    header = ("attack", "fakes", soon, f"shorter than {SOON_S:.0f} s", "ever", "median s", "APCER [95 %]", "no answer")
    rows = [
        (
            one.family,
            str(one.fakes),
            share_text(one.soon),
            str(one.short_fakes),
            str(one.suspect_fakes),
            number(one.detect_s, 1),
            share_interval_text(one.apcer),
            str(one.silent_fakes),
        )
        for one in report.families
        if one.fakes
    ]
    return "\n".join(
        [
            table(header, rows),
            f"Alarms at the sensitivity {report.sensitivity}. Times from the first face; the median is over the fakes "
            "that were flagged. APCER (ISO/IEC 30107-3): share of the judged fakes of one kind without an alarm, exact "
            "interval as if recordings were independent; those that could not be judged stand apart. No pooled APCER: "
            "it would depend on the mix of attacks.",
        ]
    )


def _real_recordings(report: Report) -> str:
    header = ("genuine", "reals", "alarmed", "BPCER [95 %]", "no answer", "alerts", "hours")
    rows = [
        (
            one.family,
            str(one.bpcer.of + one.silent),
            str(one.bpcer.count),
            share_interval_text(one.bpcer),
            str(one.silent),
            str(one.alerts),
            f"{one.hours:.3f}",
        )
        for one in (*report.genuine, _all_genuine(report))
    ]
    alarms, wanted = report.false_alarms, Sensitivity(report.sensitivity).false_alarms_per_hour
    return "\n".join(
        [
            table(header, rows),
            f"False alarms: {alarms.alerts} on {alarms.recordings_with} of {alarms.recordings} real recordings, "
            f"{alarms.hours:.3f} h: {number(alarms.per_hour)} an hour, at most {number(alarms.bound_per_hour, 1)} "
            f"(95 %, exact Poisson); {rate_support(wanted, alarms.hours)}.",
        ]
    )


def _all_genuine(report: Report) -> Genuine:
    alarms = report.false_alarms
    silent = alarms.recordings - report.overall.judged_reals
    return Genuine("all", report.overall.bpcer, silent, alarms.alerts, alarms.hours)


def _pairs(report: Report) -> str:
    header = ("pairs in one file", "fake higher", "share [95 %]", "mean gap, log-odds [95 %]")
    rows = [
        (one.family, f"{one.higher.count}/{one.higher.of}", share_interval_text(one.higher), interval_text(one.gap))
        for one in report.pairs
    ]
    return table(header, rows)


def _groups(report: Report) -> str:
    header = ("by", "group", "real", "fake", "AUC", "fakes without alarm", "reals with alarm")
    rows = [
        (
            one.by,
            one.group,
            str(one.reals),
            str(one.fakes),
            "too few" if one.auc is None else number(one.auc),
            share_text(one.apcer),
            share_text(one.bpcer),
        )
        for one in report.groups
    ]
    return "\n".join(
        [
            table(header, rows),
            "All families together: the mix of attacks differs between groups. No AUC with fewer than 3 judged rows "
            "of a class. 'skin looks' is the lightness of the cheeks in the picture (ITA) under unknown light and "
            "exposure: it says nothing of who the people are.",
        ]
    )


def _rows(report: Report) -> str:
    header = (
        "file",
        "label",
        "family",
        "score",
        "state",
        "first face s",
        "alarm s",
        "s",
        "judged",
        "px",
        "luma",
        "ITA",
    )
    rows = [_row(case) for case in report.cases[:MAX_ROWS]]
    more = len(report.cases) - len(rows)
    return table(header, rows) + (f"\nand {more} more; --json holds all" if more > 0 else "")


def _row(case: Case) -> tuple[str, ...]:
    return (
        case.row.name,
        "fake" if case.row.fake else "real",
        case.row.family,
        number(case.score, 3),
        case.state.value,
        number(case.first_face_s, 1),
        number(case.first_alert_s, 1),
        number(case.duration_s, 1),
        f"{100 * case.judged_share:.0f} %",
        number(case.face_px, 0),
        number(case.luma, 0),
        number(case.ita_deg, 0),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


# ------------------------------------------------------------------------------------------ JSON


def accuracy_json(report: Report) -> dict[str, Json]:
    """The document `unmask.accuracy/2`."""
    alarms = report.false_alarms
    judged = next((case for case in report.cases if case.model_id), None)
    return {
        "schema": SCHEMA,
        "manifest": report.manifest,
        "model": judged.model_id if judged is not None else None,
        "runtime": judged.runtime if judged is not None else None,
        "sensitivity": report.sensitivity,
        "families": [_figures_json(one) for one in report.families],
        "means": [_mean_json(one) for one in report.means],
        "overall": _figures_json(report.overall),
        "genuine": [_genuine_json(one) for one in report.genuine],
        "pairs": [_pairs_json(one) for one in report.pairs],
        "groups": [_group_json(one) for one in report.groups],
        "false_alarms": {
            "alerts": alarms.alerts,
            "hours": finite(alarms.hours),
            "recordings": alarms.recordings,
            "recordings_with": alarms.recordings_with,
            "set_for_per_hour": Sensitivity(report.sensitivity).false_alarms_per_hour,
            "extrapolated": Sensitivity(report.sensitivity).false_alarms_per_hour * alarms.hours < 3.0,
            "per_hour": finite(alarms.per_hour),
            "bound_per_hour": finite(alarms.bound_per_hour),
        },
        "rows": [_case_json(case) for case in report.cases],
    }


def _figures_json(one: Figures) -> dict[str, Json]:
    return {
        "family": one.family,
        "against": list(one.against),
        "reals": one.reals,
        "fakes": one.fakes,
        "judged_reals": one.judged_reals,
        "judged_fakes": one.judged_fakes,
        "auc": finite(one.auc.value),
        "auc_low": finite(one.auc.low),
        "auc_high": finite(one.auc.high),
        "eer": finite(one.eer),
        "tpr_at_1_percent_fpr": finite(one.strict_tpr),
        "suspect_fakes": one.suspect_fakes,
        "suspect_reals": one.suspect_reals,
        "flagged_within_6_s": share_json(one.soon),
        "fakes_shorter_than_6_s": one.short_fakes,
        "median_detect_s": finite(one.detect_s),
        "apcer": share_json(one.apcer) if one.family != "all" else None,
        "bpcer": share_json(one.bpcer),
        "no_answer_fakes": one.silent_fakes,
        "no_answer_reals": one.reals - one.judged_reals,
        "coverage": finite(one.coverage),
        "coverage_over_64_px": finite(one.large.share),
        "samples_over_64_px": one.large.samples,
    }


def _mean_json(one: Mean) -> dict[str, Json]:
    return {
        "family": one.name,
        "of": list(one.families),
        "reals": one.reals,
        "fakes": one.fakes,
        "auc": finite(one.auc.value),
        "auc_low": finite(one.auc.low),
        "auc_high": finite(one.auc.high),
    }


def _genuine_json(one: Genuine) -> dict[str, Json]:
    return {
        "family": one.family,
        "bpcer": share_json(one.bpcer),
        "no_answer": one.silent,
        "alerts": one.alerts,
        "hours": finite(one.hours),
    }


def _pairs_json(one: Pairs) -> dict[str, Json]:
    return {"family": one.family, "fake_higher": share_json(one.higher), "gap_log_odds": interval_json(one.gap)}


def _group_json(one: GroupLine) -> dict[str, Json]:
    return {
        "by": one.by,
        "group": one.group,
        "reals": one.reals,
        "fakes": one.fakes,
        "judged_reals": one.judged_reals,
        "judged_fakes": one.judged_fakes,
        "auc": finite(one.auc),
        "fakes_without_alarm": share_json(one.apcer),
        "reals_with_alarm": share_json(one.bpcer),
    }


def _case_json(case: Case) -> dict[str, Json]:
    return {
        "file": case.row.name,
        "region": None if case.row.region is None else list(case.row.region),
        "label": "fake" if case.row.fake else "real",
        "family": case.row.family,
        "group": case.row.group,
        "score": finite(case.score),
        "state": case.state.value,
        "duration_s": finite(case.duration_s),
        "coverage": finite(case.judged_share),
        "samples_over_64_px": case.large.samples,
        "judged_over_64_px": case.large.judged,
        "alerts": case.alerts,
        "first_face_s": finite(case.first_face_s),
        "first_alert_s": finite(case.first_alert_s),
        "detect_s": finite(case.detect_s),
        "face_px": finite(case.face_px),
        "luma": finite(case.luma),
        "ita_deg": finite(case.ita_deg),
        "error": case.error,
    }
