package chat

// Patterns lists the routes of all chats that there can be, by kind.
func Patterns(c Chats) (out []string) {
	for _, o := range c.all {
		for _, r := range o.Routes(nil) {
			out = append(out, o.Name()+" "+r.Pattern)
		}
	}
	return out
}
