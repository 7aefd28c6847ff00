import faulthandler, signal, threading

faulthandler.register(signal.SIGUSR1, all_threads=True)
stock = threading.Lock()
stock.acquire()


def pick():
    with stock:
        pass


for number in range(4):
    threading.Thread(target=pick, name="picker-%d" % number, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
