# Contends for locks by kazoo's own recipe, as told on stdin, one verb a line:
#   take PATH WHO    waits for the lock; answers "taken"
#   try PATH WHO     takes it or not; answers "taken" or "not"
#   give             gives it back; answers "given"
#   who PATH         answers with whom kazoo sees contending, one after another
import logging
import sys

from kazoo.client import KazooClient

logging.basicConfig(level=logging.ERROR)
auth = [("digest", sys.argv[2])] if len(sys.argv) > 2 else None
client = KazooClient(hosts=sys.argv[1], timeout=5.0, auth_data=auth)
client.start(timeout=10)
print("ready", flush=True)
lock = None
for line in sys.stdin:
    verb, *rest = line.split()
    if verb == "take":
        lock = client.Lock(*rest)
        print("waits", flush=True)
        lock.acquire()
        print("taken", flush=True)
    elif verb == "try":
        mine = client.Lock(*rest)
        print("taken" if mine.acquire(blocking=False) else "not", flush=True)
        if mine.is_acquired:
            lock = mine
    elif verb == "give":
        lock.release()
        print("given", flush=True)
    elif verb == "who":
        print(" | ".join(client.Lock(rest[0]).contenders()), flush=True)
client.stop()
