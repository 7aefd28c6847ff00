package dispatch

import (
	"weak"

	"github.com/restartilka/restartilka/internal/restart"
)

// KeptOpen is to how many hosts connections are kept.
const KeptOpen = keptOpen

// Lines gives how many hosts are remembered.
func (c *Client) Lines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.hosts)
}

// Gone gives a question: whether all that belongs to the way to a host, as it
// is now, has left memory.
func (c *Client) Gone(host restart.Host) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := weak.Make(c.hosts[host.Name+" "+host.Address])
	return func() bool { return p.Value() == nil }
}

// Touch uses the way to a host without asking it anything, and gives a function
// that ends the use.
func (c *Client) Touch(host restart.Host) (give func(), err error) {
	l, err := c.take(host)
	if err != nil {
		return nil, err
	}
	return func() { c.give(l) }, nil
}
