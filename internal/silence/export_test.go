package silence

import "context"

// SweepOnce is what Run does each time.
func (k *Keeper) SweepOnce(ctx context.Context) { k.sweep(ctx) }

// Pattern gives the patterns by which an Alertmanager finds alerts and hosts.
func Pattern(host string, alerts []string) (alert, instance string, err error) {
	m, err := matchers("instance", host, alerts)
	if err != nil {
		return "", "", err
	}
	if !m[0].IsRegex {
		m[0].Value = "\\Q" + m[0].Value + "\\E"
	}
	return m[0].Value, m[1].Value, nil
}

// Quoted is a value in a filter.
func Quoted(value string) string { return quoted(value) }
