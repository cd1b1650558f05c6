# Runs qatlab for the benchmarks and reads its answers.
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import subprocess
import time


class Qatlab:
    def __init__(self, binary, threads):
        self.binary, self.threads = binary, threads

    def run(self, commands):
        """The result objects of a batch of commands, with the process's wall seconds and peak megabytes."""
        argv = [self.binary, "--batch", "--json", "--threads", str(self.threads)]
        for c in commands:
            argv += ["-c", c]
        t = time.perf_counter()
        p = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        text = p.stdout.read()
        _, status, use = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - t
        if p.returncode:
            raise SystemExit("qatlab ended with %d:\n%s" % (p.returncode, text))
        events = [json.loads(line) for line in text.splitlines()]
        return [e for e in events if e.get("type") == "result"], seconds, use.ru_maxrss / 1024

    def median_ms(self, commands):
        results, _, _ = self.run(commands)
        return next(r["median_ms"] for r in results if "median_ms" in r)
