# Runs qatlab for the benchmarks and reads its answers.
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import subprocess
import sys

# A process begins with the memory of the one that it forks from as its peak:
# a small one must stand between a large benchmark and what it measures.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
      file=sys.stderr)
sys.exit(code)
"""


class Qatlab:
    def __init__(self, binary, threads):
        self.binary, self.threads = binary, threads

    def run(self, commands):
        """The result objects of a batch of commands, and peak megabytes."""
        argv = [self.binary, "--batch", "--json", "--threads", str(self.threads)]
        for c in commands:
            argv += ["-c", c]
        p = subprocess.run([sys.executable, "-S", "-c", MEASURE] + argv,
                           capture_output=True, text=True)
        if p.returncode:
            raise SystemExit("qatlab ended with %d:\n%s" %
                             (p.returncode, p.stdout))
        events = [json.loads(line) for line in p.stdout.splitlines()]
        return ([e for e in events if e.get("type") == "result"],
                int(p.stderr.split()[-1]) / 1024)

    def median_ms(self, commands):
        results, _ = self.run(commands)
        return next(r["median_ms"] for r in results if "median_ms" in r)
