"""The store, on SQLite and on a real PostgreSQL: what is recorded comes back, as it was asked for."""

import csv
import io
import json
import os
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blemish.errors import StoreError, UsageError
from blemish.store import Filter, Inspection, Retention, open_store

START = datetime(2026, 3, 1, 6, tzinfo=timezone.utc)


def seen(number: int = 0, **changes) -> Inspection:
    """The inspection of a minute; every tenth is anomalous."""
    score = 5.0 + number % 10
    usual = {
        "time": START + timedelta(minutes=number),
        "model": "bottle",
        "version": "aa11",
        "source": f"line/{number:05}.png",
        "score": score,
        "threshold": 13.5,
        "is_anomalous": score > 13.5,
        "p_value": 1 - (number % 10) / 10,
        "request_id": f"request-{number}",
    }
    return Inspection(**{**usual, **changes})


@pytest.fixture
def store(store_url, tmp_path):
    with open_store(store_url, tmp_path / "out") as opened:
        yield opened


def test_what_is_recorded_comes_back(store):
    region = {"box": [1, 2, 3, 4], "area": 9, "share": 0.01, "peak": 7.5, "centroid": [2.5, 3.25]}
    moment = datetime(2026, 3, 1, 7, 8, 9, 123456, timezone(timedelta(hours=5, minutes=30)))
    whole = seen(
        time=moment, regions=(region,), width=640, height=480, image_hash="a" * 64, thumbnail_hash="b" * 64,
        map_hash="c" * 64, brightness=101.5, focus=33.25, shift_x=0.01, shift_y=-0.02, note="first", page_index=2,
        pixel_threshold=13.25, part="P17", part_key="d" * 32, part_images=4, part_threshold=14.5,
    )  # fmt: skip
    (id,) = store.record([whole])
    back = store.get(id)
    assert back == replace(whole, id=id) and back.time.utcoffset() == timedelta(0)
    assert store.get(id + 1) is None and store.get(id - 1) is None
    json.dumps(back.to_dict(), allow_nan=False)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(codec=None)),
    score=st.floats(allow_nan=False, allow_infinity=False),
    moment=st.datetimes(timezones=st.timezones(), min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)),
)
def test_any_text_number_and_time(store, text, score, moment):
    (id,) = store.record([seen(source=text, score=score, time=moment, request_id=text + os.urandom(8).hex())])
    back = store.get(id)
    assert (back.score, back.time) == (score, moment.astimezone(timezone.utc))
    safe = "".join("\ufffd" if c == "\0" or 0xD800 <= ord(c) < 0xE000 else c for c in text)
    assert back.source == safe and store.find(Filter(source=text), limit=1)[0].source == safe


def test_a_request_is_stored_once(store):
    first, second = store.record([seen(1), seen(2)])
    assert store.record([seen(2, score=99.0), seen(3), seen(3), seen(1)]) == [second, second + 1, second + 1, first]
    assert store.counts().total == 3 and store.get(second).score == 7.0


def test_all_of_a_batch_or_none(store):
    for wrong in (seen(2, time=datetime(2026, 1, 1)), seen(2, score=float("nan")), seen(2, regions=({"a": np.inf},))):
        with pytest.raises(UsageError):
            store.record([seen(1), wrong])
    with pytest.raises(StoreError):  # the database's own refusal, past our checks
        store.record([seen(1), seen(2, version=None)])
    assert store.counts().total == 0
    assert store.record([]) == []


def test_one_bad_batch_of_a_shared_commit_harms_no_other(store):
    futures = [store.submit([seen(n, version=None if n == 5 else "a")]) for n in range(40)]
    failed = [n for n, future in enumerate(futures) if future.exception() is not None]
    assert failed == [5] and store.counts().total == 39


def test_many_threads_record_at_once(store):
    ids = []

    def work(thread: int) -> None:
        for n in range(25):
            ids.append((store.record([seen(thread * 100 + n)])[0], f"request-{thread * 100 + n}"))

    threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == sorted((one.id, one.request_id) for one in store.find(limit=1000)) and len(ids) == 200


def test_pages_have_every_inspection_once(store):
    store.record([seen(n) for n in range(105)])
    pages, before = [], None
    while page := store.find(Filter(is_anomalous=False), before=before, limit=20):
        store.record([seen(1000 + len(pages))])  # what arrives meanwhile moves nothing
        pages.append(page)
        before = page[-1].id
    numbers = [int(one.request_id.split("-")[1]) for page in pages for one in page]
    assert numbers == [n for n in range(104, -1, -1) if n % 10 != 9] and [len(page) for page in pages][:-1] == [20] * 4


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_filter_chooses_what_a_plain_loop_would(store, data):
    if not store.counts().total:
        reviews = [None, "false_alarm", "missed_defect", "confirmed"]
        store.record([
            seen(n, model="mno"[n % 3], version="vw"[n % 2], source=f"camera {n % 4}", review=reviews[n % 4])
            for n in range(60)
        ])  # fmt: skip
    everything = store.find(limit=1000)
    option = lambda *values: data.draw(st.sampled_from([None, *values]))  # noqa: E731
    moments = [START + timedelta(minutes=m) for m in (0, 10, 30, 59, 80)]
    chosen = Filter(
        is_anomalous=option(True, False), model=option("m", "n", "x"), version=option("v"), source=option("camera 1"),
        source_contains=option("RA 1", "camera", "_", "%", "a%1", "\\"),
        since=option(*moments), until=option(*moments), review=option("any", "none", "confirmed"),
    )  # fmt: skip
    wanted = [
        one for one in everything
        if chosen.is_anomalous in (None, one.is_anomalous)
        and chosen.model in (None, one.model)
        and chosen.version in (None, one.version)
        and chosen.source in (None, one.source)
        and (chosen.source_contains or "").lower() in one.source
        and (chosen.since is None or one.time >= chosen.since)
        and (chosen.until is None or one.time < chosen.until)
        and (chosen.review is None or chosen.review == (one.review or "none")
             or (chosen.review == "any" and one.review is not None))
    ]  # fmt: skip
    assert store.find(chosen, limit=1000) == wanted
    assert store.counts(chosen).total == len(wanted)
    ids = [one.id for one in wanted]
    around = data.draw(st.sampled_from(everything)).id
    newer, older = [id for id in ids if id > around], [id for id in ids if id < around]
    assert store.neighbours(around, chosen) == (min(newer, default=None), max(older, default=None))
    assert store.counts(chosen).confirmed == sum(one.review == "confirmed" for one in wanted)


def test_reviews(store):
    ids = store.record([seen(n) for n in range(8, 11)])
    assert store.review([ids[1], 999], "false_alarm", "ann", "a reflection") == 1
    reviewed = store.get(ids[1])
    assert (reviewed.review, reviewed.reviewed_by, reviewed.note) == ("false_alarm", "ann", "a reflection")
    assert abs(reviewed.reviewed_at - datetime.now(timezone.utc)) < timedelta(minutes=1)
    counts = store.counts()
    assert (counts.anomalous, counts.false_alarms, counts.unreviewed_anomalous) == (1, 1, 0)
    assert store.review(ids, None, "ann") == 3 and store.get(ids[1]).review is None
    with pytest.raises(UsageError, match="false_alarm"):
        store.review(ids, "fine", "ann")
    for chosen, said, number in ((ids[:2], "false_alarm", ids[0]), (ids[1:], "missed_defect", ids[1])):
        with pytest.raises(UsageError, match=f"inspection {number} was judged"):
            store.review(chosen, said, "ann")
    assert store.counts().false_alarms == store.counts().missed_defects == 0
    assert store.review(ids[:1], "missed_defect", "ann") == 1 and store.review([], "false_alarm", "ann") == 0


def test_the_trend(store):
    store.record([seen(n) for n in range(180)])
    store.record([seen(n, model="grid", p_value=None) for n in range(1000, 1010)])
    hours = store.trend(Filter(model="bottle"), timedelta(hours=1))
    assert [bucket.start for bucket in hours] == [START + timedelta(hours=h) for h in range(3)]
    assert [(bucket.count, bucket.anomalous, bucket.defect_rate) for bucket in hours] == [(60, 6, 0.1)] * 3
    wanted = np.quantile([5.0 + n % 10 for n in range(60)], (0.05, 0.25, 0.5, 0.75, 0.95))
    assert np.allclose(hours[0].score_quantiles, wanted)
    assert sum(hours[0].p_values) == 60 and hours[0].uniformity > 0.5
    (grid,) = store.trend(Filter(model="grid"), timedelta(days=1))
    assert grid.uniformity is None and sum(grid.p_values) == 0
    assert sum(bucket.count for bucket in store.trend(last=30)) == 30
    assert 30 <= len(store.trend(Filter(model="bottle"))) <= 52
    assert store.trend(Filter(model="none")) == []


def test_scores_of_a_model_answer_what_another_threshold_would_have_done(store):
    store.record([seen(n) for n in range(50)] + [seen(100 + n, version="bb22") for n in range(10)])
    last = store.scores("bottle", last=20)
    assert len(last.scores) == 20 and last.scores[0] == 14.0
    assert last.rate_above(12.5) == pytest.approx(0.2)
    assert len(store.scores("bottle", version="bb22").scores) == 10
    assert store.scores("none").rate_above(1.0) == 0.0
    assert store.models() == [("bottle", "aa11"), ("bottle", "bb22")] and store.model_names() == ["bottle"]


def test_csv(store):
    store.record([seen(0, source='=HYPERLINK("x")', regions=({"area": 3},)), seen(9, p_value=None, note='a "b",\nc')])
    stream = io.StringIO(newline="")
    assert store.export_csv(None, stream) == 2
    first, second = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert first["source"] == '\'=HYPERLINK("x")' and json.loads(first["regions"]) == [{"area": 3}]
    assert first["time"] == "2026-03-01T06:00:00.000000+00:00" and float(first["score"]) == 5.0
    assert (second["note"], second["p_value"], second["is_anomalous"]) == ('a "b",\nc', "", "True")


def test_parquet_has_every_row_and_type(store, tmp_path):
    from pyarrow import parquet

    store.record([seen(n) for n in range(2500)])
    assert store.export_parquet(Filter(since=START + timedelta(minutes=1)), tmp_path / "seen.parquet") == 2499
    table = parquet.read_table(tmp_path / "seen.parquet")
    assert table.column("request_id").to_pylist() == [f"request-{n}" for n in range(1, 2500)]
    assert table.column("time")[0].as_py() == START + timedelta(minutes=1)
    assert table.column("score").to_numpy()[:9].tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0]
    assert store.export_parquet(Filter(model="none"), tmp_path / "none.parquet") == 0
    with pytest.raises(StoreError, match=r"missing/x\.parquet"):
        store.export_parquet(None, tmp_path / "missing" / "x.parquet")
    assert sorted(path.name for path in tmp_path.glob("*parquet*")) == ["none.parquet", "seen.parquet"]


NOW = START + timedelta(minutes=100)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Retention(), range(100)),
        (Retention(max_age=timedelta(minutes=20)), [9, 19, 29, 39, 49, 59, 69, 79, *range(80, 100)]),
        (Retention(max_age=timedelta(minutes=20), keep_unreviewed_defects=False), range(80, 100)),
        (Retention(max_age_normal=timedelta(minutes=20)), [9, 19, 29, 39, 49, 59, 69, 79, *range(80, 100)]),
        (Retention(max_count=15, keep_unreviewed_defects=False), range(85, 100)),
        (Retention(max_count=0), range(9, 100, 10)),
        (Retention(max_count=1000), range(100)),
    ],
)
def test_retention(store, policy, kept):
    store.record([seen(n) for n in range(100)])
    assert store.retain(policy, NOW) == 100 - len(kept)
    assert [one.request_id for one in store.find(limit=1000)] == [f"request-{n}" for n in reversed(kept)]
    assert store.record([seen(500)])[0] > 100  # an id never comes to mean another


def test_a_reviewed_defect_may_go(store):
    ids = store.record([seen(n) for n in (9, 19)])
    store.review(ids[:1], "confirmed", "ann")
    assert store.retain(Retention(max_age=timedelta(0)), NOW) == 1 and store.find()[0].id == ids[1]
    with pytest.raises(UsageError):
        store.retain(Retention(max_count=-1))


def test_files_stay_as_long_as_an_inspection_refers_to_them(store):
    shared, own, young, unused = (store.blobs.put(bytes([n]) * 50) for n in range(4))
    store.record([seen(0, image_hash=shared, map_hash=own), seen(1, thumbnail_hash=shared)])
    for name in (shared, own, unused):
        os.utime(store.blobs.path(name), (1, 1))
    left = store.blobs.path(young).with_name(".half.part")
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert store.retain(Retention(max_count=1)) == 1
    assert [store.blobs.path(name).exists() for name in (shared, own, young, unused)] == [True, False, True, False]
    assert not left.exists() and store.check() == []


def test_an_old_file_that_is_put_again_has_its_grace_anew(store):
    name = store.blobs.put(b"old")
    os.utime(store.blobs.path(name), (1, 1))
    store.blobs.put(b"old")
    store.retain(Retention())
    assert store.blobs.get(name) == b"old"


def test_damage_is_found(store):
    damaged, missing, truncated = (store.blobs.put(bytes([n]) * 50) for n in range(3))
    store.record([seen(0, image_hash=damaged, map_hash=missing)])
    store.blobs.path(damaged).write_bytes(b"\1" * 50)
    store.blobs.path(missing).unlink()
    store.blobs.path(truncated).write_bytes(b"")
    with pytest.raises(StoreError, match="damaged"):
        store.blobs.get(damaged)
    with pytest.raises(StoreError, match="cannot be read"):
        store.blobs.get(missing)
    assert len(store.check()) == 2
    assert store.blobs.put(b"\2" * 50) == truncated and store.blobs.get(truncated) == b"\2" * 50
    for name in ("", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63):
        with pytest.raises(StoreError, match="64 hexadecimal"):
            store.blobs.get(name)


def test_tokens(store):
    text, other = store.tokens.create("line 3", "operator"), store.tokens.create("boss", "admin")
    token = store.tokens.find(text)
    assert (token.name, token.role, token.revoked) == ("line 3", "operator", None) and len(text) > 40 and text != other
    assert (
        store.tokens.find(text + "x") is None and store.tokens.find("") is None and store.tokens.find("\ud800") is None
    )
    assert store.tokens.revoke(token.id) and not store.tokens.revoke(token.id) and not store.tokens.revoke(99)
    assert store.tokens.find(text) is None and store.tokens.find(other).role == "admin"
    assert [known.revoked is None for known in store.tokens.all()] == [False, True]
    with pytest.raises(UsageError, match="viewer, operator, admin"):
        store.tokens.create("x", "root")


def test_a_token_is_in_no_file(tmp_path):
    with open_store(None, tmp_path) as store:
        text = store.tokens.create("x", "admin")
    assert not any(text.encode() in path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert (tmp_path / "store.db").stat().st_mode & 0o077 == 0


def test_settings(store):
    store.settings.set("active/bottle", "aa11")
    store.settings.set("active/grid", {"version": None, "rate": 0.01})
    store.settings.set("active_", [1])
    store.settings.set("active/bottle", "bb22")
    assert store.settings.with_prefix("active/") == {
        "active/bottle": "bb22",
        "active/grid": {"version": None, "rate": 0.01},
    }
    store.settings.set("nothing", None)
    assert store.settings.get("nothing", 1) is None and store.settings.get("unknown", 1) == 1
    store.settings.delete("nothing")
    store.settings.delete("nothing")
    assert store.settings.get("nothing", 2) == 2


def test_jobs(store):
    first, second = store.jobs.add("train", {"folder": "x"}), store.jobs.add("update", [1])
    assert store.jobs.claim("update").id == second and store.jobs.claim("update") is None
    job = store.jobs.claim()
    assert (job.id, job.state, job.parameters) == (first, "running", {"folder": "x"}) and store.jobs.claim() is None
    assert store.jobs.update(first, progress=0.5, message="half")
    assert store.jobs.requeue_running() == 2 and store.jobs.claim().progress == 0.5
    assert store.jobs.update(first, "done", result={"model": "m"})
    assert not store.jobs.update(first, "cancelled")
    done = store.jobs.get(first)
    assert (done.state, done.message, done.result) == ("done", "half", {"model": "m"}) and done.changed > done.created
    assert [job.id for job in store.jobs.list()] == [second, first] and store.jobs.list("failed") == []
    assert store.jobs.get(99) is None


def test_jobs_of_a_kind_and_a_model(store):
    add = store.jobs.add
    ids = [add("update", {"model": "cap"}), add("train", [1]), add("update", {"model": "lid"}), add("check", None)]
    assert [job.id for job in store.jobs.list(kinds=("update", "train"))] == [ids[2], ids[1], ids[0]]
    assert [job.id for job in store.jobs.list(kinds=("update", "train"), limit=1)] == [ids[2]]
    assert [job.id for job in store.jobs.list(model="cap")] == [ids[0]]
    assert store.jobs.list("running", kinds=("update",)) == store.jobs.list(kinds=("train",), model="cap") == []


def test_a_job_is_claimed_once(store):
    for n in range(20):
        store.jobs.add("train", n)
    claimed = []

    def work() -> None:
        while job := store.jobs.claim():
            claimed.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [job.id for job in reversed(store.jobs.list())]


def test_the_outbox(store):
    store.record([seen(0)])
    store.outbox.subscribe("mqtt")
    store.outbox.subscribe("mqtt")
    store.outbox.subscribe("web")
    store.record([seen(2), seen(1), seen(0), seen(2)])
    store.record([seen(1)])
    store.outbox.put("mqtt", "drift-1", {"event": "drift"})
    store.outbox.put("mqtt", "drift-1", {"event": "drift"})
    messages = store.outbox.oldest("mqtt")
    assert [message.key for message in messages] == ["request-2", "request-1", "drift-1"]
    assert messages[0].payload == {"event": "inspection", **store.get(messages[0].payload["id"]).to_dict()}
    store.outbox.delivered(messages[:2])
    store.outbox.delivered([])
    assert store.outbox.waiting("mqtt") == 1 and store.outbox.waiting("web") == 2
    store.outbox.unsubscribe("web")
    store.record([seen(3)])
    assert store.outbox.waiting("web") == 0 and store.outbox.subscribed() == ["mqtt"]


def test_a_store_is_opened_again(store_url, tmp_path):
    with open_store(store_url, tmp_path) as store:
        store.record([seen(1)])
    with pytest.raises(StoreError, match="closed"):
        store.record([seen(2)])
    with open_store(store_url, tmp_path) as first, open_store(store_url, tmp_path) as second:
        assert first.record([seen(1)]) == [1] and second.record([seen(2)]) == [2]
        first.ping()


def test_several_open_a_new_store_at_once(store_url, tmp_path):
    counts = []

    def work(n: int) -> None:
        with open_store(store_url, tmp_path) as store:
            store.record([seen(n)])
        counts.append(n)

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_store(store_url, tmp_path) as store:
        assert store.counts().total == len(counts) == 4


def test_a_newer_schema_is_refused(store_url, tmp_path):
    import sqlalchemy as sa

    from blemish.store.database import open_database

    open_store(store_url, tmp_path).close()
    database = open_database(store_url, tmp_path)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match=r"newer Blemish .*9999"):
        open_store(store_url, tmp_path)


def test_a_store_of_the_first_schema_is_brought_up_to_date(store_url, tmp_path):
    import sqlalchemy as sa

    from blemish.store.database import open_database

    with open_store(store_url, tmp_path) as store:
        store.record([seen(n) for n in range(20)])
        store.review([10], "false_alarm", "ann")
    database = open_database(store_url, tmp_path)
    with database.writing() as connection:
        connection.execute(sa.text("DROP INDEX inspections_part"))
        added = ("page_index", "pixel_threshold", "part", "part_key", "part_images", "part_threshold")
        for column in added:
            connection.execute(sa.text(f"ALTER TABLE inspections DROP COLUMN {column}"))
        connection.execute(sa.text("DROP INDEX inspections_choice"))
        connection.execute(sa.text("CREATE INDEX inspections_counts ON inspections (is_anomalous, review)"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    database.close()
    with open_store(store_url, tmp_path) as store:
        assert (store.counts().total, store.counts().false_alarms, store.get(3).pixel_threshold) == (20, 1, None)
        assert store.get(store.record([seen(30, page_index=4)])[0]).page_index == 4


def test_the_migrations_make_the_tables_that_queries_see(store_url, tmp_path):
    import sqlalchemy as sa

    from blemish.store.database import open_database
    from blemish.store.tables import METADATA

    open_store(store_url, tmp_path).close()
    database = open_database(store_url, tmp_path)
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        found = {name: [c["name"] for c in inspector.get_columns(name)] for name in inspector.get_table_names()}
    database.close()
    del found["alembic_version"]
    wanted = {name: [column.name for column in table.columns] for name, table in METADATA.tables.items()}
    assert {name: sorted(columns) for name, columns in found.items()} == {
        name: sorted(columns) for name, columns in wanted.items()
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://x", "mysql"),
        ("sqlite://", "sqlite"),
        ("::", "cannot be read"),
        ("postgresql://user:hunter2@/x?host=/nowhere", "refuses"),
    ],
)
def test_a_database_that_cannot_be_used(url, reason, tmp_path):
    with pytest.raises((UsageError, StoreError), match=reason) as caught:
        open_store(url, tmp_path)
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "store.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(None, tmp_path)
    with pytest.raises(StoreError, match="folder"):
        open_store(None, tmp_path / "store.db" / "x")


def test_another_database_file(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'a' / 'b.db'}", tmp_path / "out") as store:
        store.record([seen(1)])
    assert (tmp_path / "a" / "b.db").exists() and not (tmp_path / "out" / "store.db").exists()


def test_sqlite_flushes_every_commit(tmp_path):
    from blemish.store.database import open_database

    database = open_database(None, tmp_path)
    with database.writing() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    database.close()
    assert pragmas == ["wal", 2]


def test_a_writer_waits_for_that_of_another_process(tmp_path):
    with open_store(None, tmp_path) as store:
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        future = store.submit([seen(1)])
        time.sleep(0.2)
        assert not future.done() and store.find() == []  # reading does not wait
        other.execute("COMMIT")
        assert future.result(20) == [1]
        other.close()
