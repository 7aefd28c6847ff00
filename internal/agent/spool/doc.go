// Package spool keeps an agent's tasks on the host's disk, so that whatever
// crashes, whenever, what is known about a task stays known and no task runs
// twice.
//
//	/var/spool/restartilka/           0700, the agent's own
//	    lock                          held (flock) by the one agent that works here
//	    local.key                     the host's own key: seals what root begins here without a server
//	    ledger.jsonl                  the host's own records of that: package ledger
//	    asked.jsonl                   the host's own records of what servers asked: package ledger
//	    asked-LASTSEQ.jsonl           what was set aside of it
//	    serials/NAME                  durable: the highest serial of that scenario that was accepted
//	    scenarios/DIGEST.json         durable: a signed version that a server has laid
//	    nginx.task                    hard link to ID/received: the task that holds the service nginx
//	    ID/                           one folder a task
//	        received                  durable: the sealed envelope as it came, its epoch, when
//	        started                   durable: the right to run, taken once and for ever
//	        done                      durable: how it ended
//	        alive                     held (flock) by the task's supervisor; the kernel says whether it lives
//	        cancel                    somebody wishes it ended
//	        progress                  the supervisor's last word, replaced at once, not durable
//	        baseline                  the service's process before run, not durable
//	        evidence                  durable: what was kept from before the restart
//	        output.OFFSET             what the scripts printed, in segments
//	        dump-N.zst                durable: a thread dump, packed, never changed
//	        epoch                     durable: a later epoch than the received one, if one was shown
//	    tombstones/ID                 durable, 90 days: this id never runs (again)
//
// # The stages
//
//	(absent) ──► received ──► started ──► done ──► reported (tombstone)
//	    │            │           ▲ │                   ▲
//	    │            │  void ────┘ └─ (void) done ─────┤
//	    └────────────┴─────────────────────────────────┘
//
// The right to run is decided by the file system: "started" is made by link(2),
// which fails where the name exists. A supervisor makes it to run the task; the
// agent makes it, marked void, to promise that the task never runs. Exactly one
// of them succeeds.
//
// # Fsyncs
//
// A task that ends well costs nine on the agent's host, its DELETE included:
//
//	PUT      received, its folder, the spool      3
//	start    started, the folder                  2
//	end      done, the folder                     2
//	DELETE   the tombstone, its folder            2
//
// An agent's start costs one, and one more for each task that it finds: whoever
// made a name there may have been killed before it made that last, and what the
// agent has found it tells as true.
//
// Evidence, where a scenario asks for it, costs two more, and so does each
// thread dump. The blocks of
// started and done are reserved by the PUT, so that a disk filled in between
// (by the script itself, perhaps) can't keep an outcome from being written.
//
// # Crashes
//
// All of this is written once, over Folder, whose methods are as small as
// system calls. The tests take it through a power cut and a kill before each of
// them, on the disk of package memdisk, which loses whatever was not synced.
//
// A starting agent that can't read its spool (EIO, EMFILE) knows of nothing, and
// does not start: without a task in its memory it would call it never received.
// The same tests let every operation of Load fail once.
//
// # Links
//
// Everything is opened relative to a directory handle, one path element at a
// time, with O_NOFOLLOW: a symlink in the spool is an error and never followed.
package spool
