// Package receive is the other end of the audit trail's strongest level: a
// program, `restartilka audit receive`, that stores the records of servers on a
// machine of its own, and answers only when they are on its disk.
//
// # The way of a batch
//
//	TLS 1.3, client certificate        of the pinned authority, and of this source by name
//	bounds                             1 MiB a batch, 4 batches of a source at once, bytes a second
//	each record                        canonical, of this source, its hash that of its contents,
//	                                   the next seq, prev_hash the hash of the one before
//	write, fsync                       the whole batch at once; a new file's folder too
//	answer                             the head: the last record that is stored
//
// A record that is there already is compared with what is stored, and passed
// over. Records behind a gap are not stored: the answer says up to where the
// chain goes, and the source sends from there. Whatever contradicts the chain
// is stored apart, refused, and raises the alarm (see Alarm); good records
// before it in the same batch are stored.
//
// # On the disk
//
//	FOLDER/.lock                              one receiver at a time
//	FOLDER/SOURCE/EEEEEE-SSSSSSSSSSSS.jsonl   canonical records of epoch E from seq S on, without gaps
//	FOLDER/SOURCE/alarm.jsonl                 while it is there, the alarm stands
//	FOLDER/SOURCE/refused/                    what was not taken, as it came
//
// In the order of their names the files of a source are its trail, as
// `restartilka audit verify` reads it: a new file is begun at 64 MiB, and with
// each epoch.
//
// # What a crash leaves
//
// Nothing is written behind bytes that are not synced yet, so only the last
// batch of the last file can be torn. At the start a last line without its end
// is cut off: it was never answered for. If more than that is damaged, it is put
// apart first, and the alarm is raised: bytes that were answered for are then
// asked of the source again. The last batch is also written once more and
// synced before anything is served: bytes that one fsync could not store may
// look well in memory, and the next fsync says nothing of them.
package receive
