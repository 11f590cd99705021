"""`python -m devkit.clients FOLDER`: run the clients of FOLDER/workload.json until SIGTERM or Ctrl-C.

FOLDER/report.json always contains a complete report; at the end FOLDER/ledger.json has the acknowledged writes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from devkit.clients.counts import Counts
from devkit.clients.crowd import Crowd
from devkit.clients.ledger import Ledger
from devkit.clients.process import LEDGER, REPORT, WORKLOAD
from devkit.clients.workload import Workload

REPORT_SECONDS = 0.25


async def run(folder: Path) -> None:
    """Run the clients in `folder` until told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    workload = Workload.model_validate_json((folder / WORKLOAD).read_text())
    crowd = Crowd(workload, Ledger.load(folder / LEDGER))
    async with asyncio.TaskGroup() as tasks:
        reporting = tasks.create_task(_report_regularly(crowd.counts, folder / REPORT))
        await crowd.run(stop)
        reporting.cancel()
    crowd.ledger.save(folder / LEDGER)
    _report(crowd.counts, folder / REPORT)


async def _report_regularly(counts: Counts, file: Path) -> None:
    while True:
        _report(counts, file)
        await asyncio.sleep(REPORT_SECONDS)


def _report(counts: Counts, file: Path) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(counts.as_json()))
    partial.replace(file)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
