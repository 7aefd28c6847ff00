import faulthandler, signal, sys, threading, time

if len(sys.argv) > 1:
    faulthandler.register(getattr(signal, sys.argv[1]), all_threads=True)


def wait_for_work():
    time.sleep(1000)


for i in range(3):
    threading.Thread(target=wait_for_work, name="worker-%d" % i, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
