package spool

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
)

// fileLocal holds the seed, in hex, of the key by which work that root begins
// on the host itself is sealed. Whoever can read it is root here.
const fileLocal = "local.key"

// LocalKey gives the host's own key, and makes it, durably, at its first use.
func (s *Spool) LocalKey() (ed25519.PrivateKey, error) {
	key, err := localKey(s.root.Folder)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails, by its documentation
	if err := s.root.put(fileLocal, []byte(hex.EncodeToString(seed))); err != nil {
		return nil, err
	}
	return localKey(s.root.Folder)
}

// LocalKeys gives the public half of the spool's own key, by its KeyID, as
// protocol.Open wants it. An error where there is none, or where another than
// the spool's owner could have made or read it.
func LocalKeys(path string) (map[string]ed25519.PublicKey, error) {
	root, err := OpenFolder(path, nil)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	key, err := localKey(root)
	if err != nil {
		return nil, err
	}
	public := key.Public().(ed25519.PublicKey)
	return map[string]ed25519.PublicKey{protocol.LocalKeyID(public): public}, nil
}

// localKey reads the key out of a folder of the host: who owns a file, no other
// kind can tell.
func localKey(in Folder) (ed25519.PrivateKey, error) {
	root, err := hostFolder(in)
	if err != nil {
		return nil, err
	}
	f, err := root.open(fileLocal, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, root.fail("stat", fileLocal, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return nil, root.fail("read", fileLocal, fmt.Errorf("it belongs to user %d with mode %04o: it must belong to the agent's own user with mode 0600", st.Uid, st.Mode&0o7777))
	}
	b := make([]byte, 2*ed25519.SeedSize+1)
	n, err := f.Read(b)
	if err != nil {
		return nil, root.fail("read", fileLocal, err)
	}
	seed, err := hex.DecodeString(string(b[:n]))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, root.fail("read", fileLocal, errors.New("it is not a key; remove it, and the next use makes another"))
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
