package wire

import "time"

// ChatLink is an account of a chat by which somebody acts.
type ChatLink struct {
	ID        string
	Chat      string // telegram, slack, mattermost
	Person    string // the chat's own id of the account
	Name      string // as the chat called it when it was linked; escaped
	Owner     string
	CreatedAt time.Time
}

// ChatCode is what somebody sends from his account, once.
type ChatCode struct {
	Code      string
	ExpiresAt time.Time
}
