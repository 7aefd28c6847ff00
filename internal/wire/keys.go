package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// KeyRequest puts an SSH key into one's own profile.
type KeyRequest struct {
	Name string           `json:"name,omitempty" doc:"what it is, such as laptop; empty: the comment behind the key" maxLength:"64"`
	Key  string           `json:"key" doc:"the public half, as it stands in a .pub file" maxLength:"16384"`
	Life restart.Duration `json:"life,omitempty" doc:"how long it is good for; 0: until it is removed. By a token never longer than the token"`
}

// Key is the public half of an SSH key in somebody's profile.
type Key struct {
	ID          string     `json:"id"`
	Owner       string     `json:"owner"`
	Name        string     `json:"name"`
	Kind        string     `json:"kind" doc:"such as ssh-ed25519"`
	Fingerprint string     `json:"fingerprint" doc:"SHA256:…, as ssh-keygen -l prints it"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at" doc:"null: good until it is removed"`
	LastUsedAt  *time.Time `json:"last_used_at" doc:"null: never; to the minute"`
}
