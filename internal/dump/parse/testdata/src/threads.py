"""Threads of many kinds; what it then does is its argument: all, fatal, timeout, wait."""
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time

lock = threading.Lock()


def worker():
    with lock:
        print("never")


def reader():
    a, b = socket.socketpair()
    a.recv(1)


def poller():
    select.select([], [], [])


def deep(n):
    if n == 0:
        threading.Event().wait()
    else:
        deep(n - 1)


def start():
    lock.acquire()
    for target in (worker, reader, poller):
        threading.Thread(target=target, name=target.__name__, daemon=True).start()
    threading.Thread(target=deep, args=(120,), name="deep", daemon=True).start()
    time.sleep(0.3)


start()
if sys.argv[1] == "all":
    faulthandler.dump_traceback(file=sys.stderr)
elif sys.argv[1] == "fatal":
    faulthandler.enable()
    os.kill(os.getpid(), signal.SIGSEGV)
elif sys.argv[1] == "timeout":
    faulthandler.dump_traceback_later(0.2)
    time.sleep(0.5)
elif sys.argv[1] == "wait":
    faulthandler.register(signal.SIGUSR1)
    print("ready", flush=True)
    time.sleep(600)
