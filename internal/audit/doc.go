// Package audit is the trail of everything that was asked, decided and done:
// what a record is, how records are chained, how they leave this server, and
// how anybody can prove later that none is missing or changed.
//
// # The way of a record
//
//	transaction of a change        sequencer             one shipper for each sink
//	record beside the change ──►  source, epoch,   ──►  file    JSON lines, fsync         level spool
//	(unsequenced)                 seq, prev_hash,  ──►  syslog  RFC 5424 over TLS         level sent
//	                              hash, in batches ──►  relp    the same, answered        level received
//	                                               ──►  http    JSON lines, bulk          level received
//	                                               ──►  receiver  ours, after its fsync   level stored
//
// A record is written in the transaction of the change that it tells of, so
// there is never one without the other. Its place in the chain is given after
// the commit, by one sequencer a server, so that no change waits for a common
// row. Each sink has a durable cursor of its own: one that is away for an hour
// holds up nobody, and gets everything in order when it is back. After a crash,
// or after a connection has broken, records may be sent twice; they are never
// lost and never overtake each other. Their seq tells the copies.
//
// Levels have names, as "logged" means different things: see Level. Plain
// syslog acknowledges nothing, so Syslog can't promise more than "sent"; it
// says how near to that it comes. Relp believes only an answer to the very
// record, and HTTP in the format bulk one that tells of each; of lines, the
// status of the request. Receiver's answer comes after an fsync on the other
// side.
//
// # Canonical bytes
//
// A record has exactly one encoding, a JSON object (RFC 8259, UTF-8) without
// blanks or line ends, with these members in this order:
//
//	source epoch seq prev_hash time_utc actor origin action run task attempt
//	service environment host scenario_digest params reason outcome detail hash
//
// Members that are empty or 0 are left out, except seq. Numbers (epoch, seq,
// attempt) are decimal integers. time_utc is YYYY-MM-DDTHH:MM:SS.ffffffZ with
// exactly six digits. params is an object of strings, its names in ascending
// order of their UTF-8 bytes. In strings
//
//	"  and  \                      are written  \"  and  \\
//	<  >  &                        as \u003c \u003e \u0026
//	U+0000–001F 007F–009F 061C     as \uXXXX, four lower-case hex digits
//	200B–200F 2028–202E 2060–2069 FEFF
//
// and everything else stands for itself. The last two lines of that list never
// occur, since text that is not printable is escaped before it becomes a
// value (Record.Clean): a newline in a name becomes the two characters \n, of
// which the backslash is then doubled. So whoever decodes and prints a value
// can't be deceived either.
//
// hash is the SHA-256, in lower-case hex, of these bytes without the member
// hash; they hold prev_hash, which is the hash of the record before, and is
// absent in the first of a source. Anybody can follow the chain without us:
//
//	sed 's/,"hash":"[0-9a-f]*"}$/}/' | while IFS= read -r line; do printf %s "$line" | sha256sum; done
//
// testdata/vectors.jsonl has records of every shape, made by these rules.
//
// # Seals
//
// A chain shows what is wrong within it, and whoever holds a database could make
// it anew from any record on. So the sequencer seals it, at its start, once a
// minute and after a thousand records: the record audit.sealed signs the hash of
// the record before it by Ed25519, and with it all that were ever before. See
// Seal for the signed text, byte for byte. A seal comes though nothing happens,
// so that it is the heartbeat of its server as well: where none came for three
// minutes, the tail is missing, or the server was.
//
//	… 57 ─ 58 ─ 59 ─ 60 audit.sealed ─ 61 ─ … ─ 117 ─ 118 audit.sealed
//	                 │ signs the hash of 59            │ signs the hash of 117
//
// A new key is named by the one before in audit.key_changed: see KeyChange.
// What stands behind the last seal is chained and not yet signed. A record that
// somebody puts there who holds the log is found when the next true one comes.
//
// testdata/seals.jsonl has a sealed trail with a change of the key, and
// testdata/seals.pub the public half of its first key.
//
// # Verifying
//
//	files ──► blocks of lines ──► a worker a core: is it a record, is its hash
//	                              right ──► in order again, one chain a source:
//	                              places, links, gaps, seals, keys, silence
//
// Each line is read by scan, which knows only the one canonical form and is held
// against Decode by a fuzz test. What scan refuses is asked of Decode for the
// reason. Memory is some blocks, and a window of hashes for each source.
//
// # Places
//
// seq counts from 1 without gaps within a source. A database that was put back
// from a backup has forgotten its last records, while sinks still have them: so
// a restore raises the epoch. (source, epoch, seq) names one record for ever.
//
// # Bounds
//
// A record has at most MaxSize bytes, as receivers of syslog take 8 KiB by
// default. Longer details, such as the list of ten thousand hosts, are cut and
// leave their length and SHA-256 behind; the whole is in the run's plan.
package audit
