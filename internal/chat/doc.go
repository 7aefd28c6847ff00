// Package chat is the way in for people in Telegram, Slack and Mattermost: a
// restart is asked for where they talk to each other, and its state is one
// message that changes. It is as thin as the other ways in: control decides,
// twice, when something is asked for and when its button is pressed.
//
//	Chat.Listen / Handler ──► Event ──► Bot.Handle
//	                                      │ seen before, on any server? then nothing
//	                                      │ a group that nobody has allowed? one sentence
//	                                      ▼
//	     /restart SERVICE [ENV] REASON ─► plan, with a button ─► control.Start
//	                                                               │
//	            one message ◄── every two seconds, on change ◄── live
//
// Who somebody is follows from the chat's own id of the account, which he has
// linked to his name with a code from his profile page (control.ChatActor). The
// names that a chat shows say nothing.
//
// A button is a secret of 160 bits of which the database has a hash, with what it
// does. One that starts something is good for one press, for two minutes, by the
// one who asked, below the message that shows the plan; one that stops or resumes
// is for whoever may, below the message as it is now. Older ones are over when the
// chat has taken newer ones: before, people see those.
//
// Of several servers one listens to a chat and keeps its messages up to date
// (store.TakeChatTurn); if it dies the next does. What a chat sends is noted
// before it is done, so that nothing is done twice: what a server had in hand
// when it died is not done at all, and has to be asked for again.
//
// It speaks English or Russian, as each chat is configured: its own words from the
// table texts, what control says told by package said. Commands are the same words
// in both.
//
// All text goes out as one preformatted block, in which no chat looks for
// mentions, links or markup. A kind of chat is one file and one line in the table
// kinds, and passes the package's Exercise suite.
package chat
