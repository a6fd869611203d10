"""Time and memory of .pt2 -> .onnx as whole processes: ferry, torch.onnx.export, and a buffered copy with the same flush.

Alternating runs; medians. Figures are of whole processes, from the operating system's accounting (wait4). Memory is the peak resident set;
for ferry also without file-backed pages, which the kernel can drop (RssAnon, sampled).
"""
import os, statistics, subprocess, sys, tempfile, threading, time

ferry, models = os.path.abspath(sys.argv[1]), os.path.join(os.path.dirname(os.path.abspath(__file__)), "models.py")
runs = int(os.environ.get("FERRY_BENCH_RUNS", "5"))
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "2")

TORCH = """
import torch
p = torch.export.load("resnet50.pt2")
torch.onnx.export(p, (), "torch.onnx", dynamo=True, external_data=False, verbose=False)
"""
COPY = ["dd", "if=resnet50.pt2", "of=copy.bin", "bs=1M", "conv=fsync", "status=none"]


def peak_anon(pid, result):
    """Largest RssAnon seen, in bytes: sampled every 2 ms."""
    while True:
        try:
            with open(f"/proc/{pid}/status") as f:
                for line in f:
                    if line.startswith("RssAnon"):
                        result[0] = max(result[0], int(line.split()[1]) * 1024)
        except OSError:
            return
        time.sleep(0.002)


def run(command):
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    anon = [0]
    watcher = threading.Thread(target=peak_anon, args=(child.pid, anon))
    watcher.start()
    err = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if child.returncode:
        sys.exit(f"{command[0]} failed ({child.returncode}): {err.decode()[-500:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, anon[0]


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([sys.executable, models, folder, "resnet50"], check=True, stderr=subprocess.DEVNULL)
        commands = {
            "ferry export (verified)": [ferry, "export", "resnet50.pt2", "-o", "ferry.onnx", "-q"],
            "ferry export --no-verify": [ferry, "export", "resnet50.pt2", "-o", "plain.onnx", "--no-verify", "-q"],
            "copy with flush (dd)": COPY,
            "torch.onnx.export (not verified)": [sys.executable, "-W", "ignore", "-c", TORCH],
        }
        rows = {name: [] for name in commands}
        for name, command in commands.items():
            run(command)                                   # warm-up
        for i in range(runs):
            for name, command in commands.items():
                rows[name].append(run(command))
        size = os.path.getsize("resnet50.pt2")
        print(f"ResNet-50 .pt2 ({size / 1e6:.0f} MB) -> .onnx, whole processes, medians of {runs} alternating runs\n")
        print(f"| {'command':34} | wall s | cpu s | peak RSS MB | peak anonymous MB |")
        print(f"|{'-' * 36}|-------:|------:|------------:|------------------:|")
        mid = {n: [statistics.median(c) for c in zip(*r)] for n, r in rows.items()}
        for n, (wall, cpu, rss, anon) in mid.items():
            print(f"| {n:34} | {wall:6.2f} | {cpu:5.2f} | {rss / 1e6:11.0f} | {anon / 1e6:17.1f} |")
        torch, plain, full, copy = (mid[n][0] for n in ("torch.onnx.export (not verified)", "ferry export --no-verify", "ferry export (verified)", "copy with flush (dd)"))
        print(f"\nverified export: {torch / full:.1f} times faster than torch.onnx.export; --no-verify: {torch / plain:.0f} times, {plain / copy:.2f} times a copy")


main()
