package host

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
)

// User is who scripts run as.
type User struct {
	Name, Home string
	UID, GID   uint32
	Groups     []uint32 // supplementary
	// Self: it is the agent's own user, so nothing has to be changed and nothing could be.
	Self bool
}

// FindUser looks a user up. An agent that is not root (self ≠ 0) can become
// nobody else: CodeForbidden.
func FindUser(name string, self int) (User, error) {
	if err := restart.CheckUser(name); err != nil {
		return User{}, err
	}
	if self != 0 {
		// The agent's own user is known even where no user database lists it.
		if me, err := user.Current(); err == nil && me.Username == name && me.Uid == strconv.Itoa(self) {
			return fill(me, self)
		}
	}
	u, err := user.Lookup(name)
	if err != nil {
		return User{}, restart.Errorf(restart.CodeInvalid, "scripts would run as user %s, who does not exist on this host", name).
			WithHint("correct user: in services.d on the host, or run_as: in the reviewed scenario; only local users (/etc/passwd) are known to the agent").Because(err)
	}
	if self != 0 && u.Uid != strconv.Itoa(self) {
		return User{}, restart.Errorf(restart.CodeForbidden, "scripts would run as user %s, and this agent, not being root, can't become another user", name).
			WithHint("run the agent as root, or set user: in services.d to the agent's own user")
	}
	return fill(u, self)
}

// OwnUser is the agent's own user, whatever it is called.
func OwnUser() (User, error) {
	uid := os.Geteuid()
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil { // one that no user database lists
		return User{Name: "user " + strconv.Itoa(uid), Home: "/", UID: uint32(uid), GID: uint32(os.Getegid()), Self: true}, nil
	}
	own, err := fill(u, uid)
	own.Self = true
	return own, err
}

func fill(u *user.User, self int) (User, error) {
	out := User{Name: u.Username, Home: u.HomeDir}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return out, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return out, fmt.Errorf("user %s: %w", u.Username, err)
	}
	out.UID, out.GID, out.Self = uint32(uid), uint32(gid), self != 0
	if out.Home == "" {
		out.Home = "/"
	}
	if out.Self {
		return out, nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return out, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return out, fmt.Errorf("groups of user %s: %w", u.Username, err)
		}
		out.Groups = append(out.Groups, uint32(n))
	}
	return out, nil
}
