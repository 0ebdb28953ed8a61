"""Runs demo_program.py and serves demo_server.py, by HTTP and by HTTPS, on asyncio and on fastloop, side by side.

    python benchmarks/demo.py

Each run has a process of its own, and the loops take turns. The exit status is 1 if any result differs or any
answer of the server is wrong.
"""

import asyncio
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import demo_program
import fastloop
import trustme

FACTORIES = {"asyncio": asyncio.new_event_loop, "fastloop": fastloop.new_event_loop}
HERE = pathlib.Path(__file__).parent
MAX_ROUNDS = 5
PROGRAM_BUDGET, SERVER_BUDGET = 15.0, 9.0  # Seconds; no round begins that would probably end later.
CHILD_TIMEOUT = 120.0  # Seconds, after which a run counts as hung.


def run_program(loop_name):
    """In the child process: run the program on the loop of that name and print its report."""
    with asyncio.Runner(loop_factory=FACTORIES[loop_name]) as runner:
        report = runner.run(demo_program.main())
    json.dump(report, sys.stdout)


def run_in_fresh_process(loop_name):
    command = [sys.executable, __file__, loop_name]
    child = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=CHILD_TIMEOUT)
    return json.loads(child.stdout)


def serve_under_load(loop_name):
    """Start the server on that loop and have it loaded from another processor, if there is another."""
    return load_server([loop_name], [])


def serve_under_load_by_https(loop_name):
    """The same with a certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    with tempfile.TemporaryDirectory() as folder:
        certificate_file, authority_file = pathlib.Path(folder, "server.pem"), pathlib.Path(folder, "ca.pem")
        certificate.write_to_path(certificate_file)
        authority.cert_pem.write_to_path(authority_file)
        return load_server([loop_name, certificate_file], [authority_file])


def load_server(server_arguments, load_arguments):
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    server = start(first, "demo_server.py", *server_arguments)
    try:
        port = server.stdout.readline().strip()
        load = start(last, "demo_load.py", port, *load_arguments)
        report, _ = load.communicate()  # it gives up by itself
        server.communicate(timeout=CHILD_TIMEOUT)
    finally:
        server.kill()
    return json.loads(report)


def start(processor, program, *arguments):
    command = [sys.executable, HERE / program, *arguments]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(child.pid, {processor})
    return child


def measure(what, function, time_budget):
    """{loop name: one result of function(loop name) per round}, the loops taking turns and changing places."""
    reports = {name: [] for name in FACTORIES}
    order = list(FACTORIES)
    begin = time.monotonic()
    for done in range(1, MAX_ROUNDS + 1):
        print(f"{what}, round {done} of up to {MAX_ROUNDS} ...", file=sys.stderr, flush=True)
        for name in order:
            reports[name].append(function(name))
        order.reverse()
        elapsed = time.monotonic() - begin
        if elapsed + elapsed / done > time_budget:
            break
    return reports


def differences(reports):
    """One line for each section and run whose result is not that of the first run."""
    first = next(iter(reports.values()))[0]
    return [
        f"{section['name']}: {loop_name} gives {section['result']}, expected {expected['result']}"
        for loop_name, runs in reports.items()
        for report in runs
        for expected, section in zip(first, report, strict=True)
        if section["result"] != expected["result"]
    ]


def timings(reports, loop_name):
    """The seconds of each section, one list per section, with the total as the last."""
    sections = zip(
        *[[section["seconds"] for section in report] for report in reports[loop_name]], strict=True
    )
    per_section = [list(seconds) for seconds in sections]
    return [*per_section, [sum(seconds) for seconds in zip(*per_section, strict=True)]]


def print_table(reports):
    rounds = len(reports["asyncio"])
    print(f"Python {platform.python_version()}, asyncio of the same, fastloop {fastloop.__version__}")
    print(f"Seconds, the best of {rounds} rounds; ratios of the best and of the medians\n")
    print(f"{'':30} {'operations':>10} {'asyncio':>9} {'fastloop':>9} {'x best':>8} {'x median':>9}")

    sections = reports["asyncio"][0]
    names = [section["name"] for section in sections] + ["total"]
    operations = [section["operations"] for section in sections]
    for name, count, theirs, ours in zip(
        names,
        [*operations, sum(operations)],
        timings(reports, "asyncio"),
        timings(reports, "fastloop"),
        strict=True,
    ):
        best = min(theirs) / min(ours)
        median = statistics.median(theirs) / statistics.median(ours)
        print(f"{name:30} {count:10,} {min(theirs):9.3f} {min(ours):9.3f} {best:7.2f}x {median:8.2f}x")


def print_served(title, reports):
    """Each run's requests per second and the server's processor time per request; the best of the rounds."""
    rates, costs = {}, {}
    for name, runs in reports.items():
        rates[name] = max(run["requests"] / run["seconds"] for run in runs)
        costs[name] = min(run["processor_seconds"] / run["requests"] for run in runs) * 1e6
    rounds = len(reports["asyncio"])
    print(f"\n{title}, the best of {rounds} rounds\n")
    print(f"{'':41} {'asyncio':>9} {'fastloop':>9} {'x best':>8}")
    rate_ratio = rates["fastloop"] / rates["asyncio"]
    cost_ratio = costs["asyncio"] / costs["fastloop"]
    print(f"{'requests per second':41} {rates['asyncio']:9,.0f} {rates['fastloop']:9,.0f} {rate_ratio:7.2f}x")
    print(
        f"{'processor time per request, microseconds':41} {costs['asyncio']:9.0f} {costs['fastloop']:9.0f}"
        f" {cost_ratio:7.2f}x"
    )


def wrong_answers(reports):
    """One line for each loop that gave wrong answers."""
    wrong = {name: sum(run["wrong"] for run in runs) for name, runs in reports.items()}
    return [f"{name}: {count} wrong answers of the server" for name, count in wrong.items() if count]


def main():
    reports = measure("program", run_in_fresh_process, PROGRAM_BUDGET)
    plain = measure("HTTP server", serve_under_load, SERVER_BUDGET)
    secure = measure("HTTPS server", serve_under_load_by_https, SERVER_BUDGET)
    print_table(reports)
    print_served("An aiohttp application under load", plain)
    print_served("The same by HTTPS", secure)
    wrong = differences(reports) + wrong_answers(plain) + wrong_answers(secure)
    if wrong:
        print("\nResults DIFFER:", *wrong, sep="\n  ")
        return 1
    program_runs = sum(map(len, reports.values()))
    answers = sum(run["requests"] for served in (plain, secure) for runs in served.values() for run in runs)
    print(
        f"\nResults are equal in all {len(reports['asyncio'][0])} sections of all {program_runs} runs of the program,"
    )
    print(f"and all {answers:,} answers of the servers are right.")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_program(sys.argv[1])
    else:
        sys.exit(main())
