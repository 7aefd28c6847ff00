// Package fleet boots a small company of real hosts: Debian with systemd as
// PID 1, nginx from the distribution and our own packages, each host in a
// network namespace of its own, on a bridge that the whole fleet shares.
//
//	             namespace of the fleet: br0 10.77.0.1/24
//	┌───────────────┬───────────┬───────────┬──────┬───────────┐
//	restartilka .2  log .3      web01 .11   …      web05 .15     …example.com
//
// A host is a systemd-nspawn container over an overlay of one root file system,
// which debootstrap makes once (RESTARTILKA_FLEET_CACHE, default
// /var/cache/restartilka-fleet). It has control groups of its own, a boot id
// that changes with each boot, and files that can be read and written from
// outside, by Host.Path.
//
// Nothing of it reaches beyond the machine: the namespaces have no way out.
// Everything goes away again at the end of a test, also when the test is
// killed: a keeper process takes the fleet down when its input ends.
//
// Tests over the fleet live in the folders below; they need root.
package fleet
