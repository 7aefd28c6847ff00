package client

import (
	"context"

	"github.com/restartilka/restartilka/internal/wire"
)

// Receivers lists whom the server tells, and what they have not taken yet.
func (c *Client) Receivers(ctx context.Context) ([]wire.Receiver, error) {
	list, err := get[wire.List[wire.Receiver]](ctx, c, "receivers", nil)
	return list.Items, err
}

// TestReceiver has a message sent to a receiver now.
func (c *Client) TestReceiver(ctx context.Context, name string) (wire.ReceiverTest, error) {
	return post[wire.ReceiverTest](ctx, c, "receivers/"+segment(name)+"/test", nil, nil)
}
