package inventory_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/inventory"
)

// Prometheus itself finds the same hosts in the example's files.
func TestPrometheusFindsTheSame(t *testing.T) {
	t.Parallel()
	promtool := needPackage(t, "prometheus", "promtool")
	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", "inventories", "targets"))
	if err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(dir, "*.json"), filepath.Join(dir, "*.yml")}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	write(t, config, "scrape_configs:\n- job_name: shop\n  file_sd_configs:\n  - files: ['"+strings.Join(files, "', '")+"']\n"+
		"  relabel_configs: [{source_labels: [__address__], target_label: raw}, {target_label: __address__, replacement: 'blackbox:9115'}]\n") // as for probes, whose targets may be URLs
	out, err := exec.CommandContext(t.Context(), promtool, "check", "service-discovery", "--timeout=1s", config, "shop").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		Labels map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	theirs := map[string]bool{}
	for _, x := range found {
		host := strings.TrimPrefix(x.Labels["raw"], "https://")
		host, _, _ = strings.Cut(host, "/")
		host, _, _ = strings.Cut(host, ":")
		theirs[host+" "+x.Labels["app"]+" "+x.Labels["env"]] = true
	}
	described := describe(t)
	write(t, described, "services: [{name: nginx}, {name: node-exporter}]\n")
	i, err := inventory.New(inventory.Config{Kind: "prometheus", Files: files, ServicesFile: described, Labels: inventory.Labels{Service: "app", Environment: "env"}})
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, g := range snapshot(t, i).Groups {
		for _, h := range g.Hosts {
			ours[h+" "+strings.Join(g.Services, ",")+" "+g.Environment] = true
		}
	}
	if a, b := slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)); !slices.Equal(a, b) || len(a) != 6 {
		t.Errorf("Prometheus finds\n%s\nand we find\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}
