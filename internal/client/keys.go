package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/restartilka/restartilka/internal/wire"
)

// Keys lists one's own SSH keys, or everybody's.
func (c *Client) Keys(ctx context.Context, all bool) ([]wire.Key, error) {
	var keys []wire.Key
	query := url.Values{}
	if all {
		query.Set("all", "true")
	}
	for {
		page, err := get[wire.List[wire.Key]](ctx, c, "keys", query)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.Items...)
		if page.Next == "" {
			return keys, nil
		}
		query.Set("after", page.Next)
	}
}

// AddKey puts an SSH key into one's own profile.
func (c *Client) AddKey(ctx context.Context, req wire.KeyRequest) (wire.Key, error) {
	return post[wire.Key](ctx, c, "keys", req, nil)
}

// RemoveKey takes an SSH key out of a profile.
func (c *Client) RemoveKey(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "keys/"+segment(id), nil, nil, nil)
	return err
}
