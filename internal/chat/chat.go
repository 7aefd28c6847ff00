package chat

import (
	"context"
	"net/http"
)

// Chat is one chat that the bot is in.
type Chat interface {
	// Name is its kind, by which its accounts are linked: telegram.
	Name() string
	// Listen gives what people send and press to each, until ctx ends. An error
	// is for the log: it is called again. It tells connected whenever the chat
	// begins to answer, and when it does no more.
	Listen(ctx context.Context, each Handle, connected func(bool)) error
	// Routes take what the chat itself sends to this server; none where it sends
	// nothing, and Listen asks it.
	Routes(each Handle) []Route
	// Post sends a message to a conversation, and gives its id.
	Post(ctx context.Context, place string, m Message) (id string, err error)
	// Edit puts another content in its place.
	Edit(ctx context.Context, place, id string, m Message) error
}

// Route is an address below /chat/NAME. Anybody can reach it: it looks itself at
// who asks, and answers 401 where it is not the chat.
type Route struct {
	Pattern string // of http.ServeMux: POST /command
	Take    http.HandlerFunc
}

// Handle takes one event. It returns when all is done that it leads to.
type Handle func(ctx context.Context, e Event)

// Event is something that a person has sent or pressed.
type Event struct {
	ID      string // of the chat; the same when it is sent again
	Person  string // the chat's own id of the account
	Name    string // what the account is called
	Place   string // id of the conversation
	Private bool   // the conversation is with the bot alone
	Text    string // of a command: "/restart nginx 502s since noon"

	Message string // id of the message whose button was pressed; "" = none was
	Secret  string // of the button

	Forwarded bool // somebody else's words
	Edited    bool // of a message that was sent before

	// Answer says something to this person, so that nobody else need read it
	// where the chat can do that. All that is done is answered, if with "".
	Answer func(ctx context.Context, text string) error
}

// Message is what the bot writes.
type Message struct {
	Text    string // lines, each without control characters
	Link    Link   // below the text; the zero Link is none
	Buttons []Button
}

// Link leads to a page of the server.
type Link struct{ Text, URL string }

// Button is below a message.
type Button struct {
	Label  string
	Secret string
	Tone   Tone
}

// Tone is how a button looks, where the chat can show it.
type Tone string

// The tones of buttons.
const (
	TonePlain Tone = ""
	ToneGo    Tone = "go"
	ToneStop  Tone = "stop"
)
