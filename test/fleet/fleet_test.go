package fleet_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

// The harness itself: hosts are real, apart from each other, and gone at the end.
func TestHostsAreReal(t *testing.T) {
	f := fleet.New(t, fleet.Options{Web: 2})
	client := &http.Client{Transport: &http.Transport{DialContext: f.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	get := func(h *fleet.Host) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.Name+"/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	one, two := f.Web[0], f.Web[1]
	for _, h := range f.Web {
		if err := get(h); err != nil {
			t.Fatal(err)
		}
		if got := h.Shell("hostname"); got != h.Name+"\n" {
			t.Errorf("host calls itself %q", got)
		}
	}
	one.Shell("systemctl stop nginx")
	if err := get(one); err == nil {
		t.Error("web01 serves with its nginx stopped")
	}
	if err := get(two); err != nil {
		t.Errorf("web02 stopped with web01's nginx: %v", err)
	}
	two.Cut()
	if err := get(two); err == nil {
		t.Error("web02 answers with its cable pulled")
	}
	two.Plug()
	boot := two.Shell("cat /proc/sys/kernel/random/boot_id")
	two.Reboot()
	if again := two.Shell("cat /proc/sys/kernel/random/boot_id"); again == boot {
		t.Error("the boot id stayed the same over a reboot")
	}
	// Parents that would note how their children ended, as supervisors do: each in
	// another control group than its child.
	two.Shell(`cd /sys/fs/cgroup; mkdir noted.a noted.b
for i in $(seq 50); do for pair in "a b" "b a"; do
  setsid sh -c 'echo 0 >noted.$1/cgroup.procs; (echo 0 >noted.$2/cgroup.procs; exec sleep 1000); echo $? >/var/tmp/noted.'$i.'$1' sh $pair >/dev/null 2>&1 </dev/null &
done; done
until test $(pgrep -xc sleep) -ge 100; do :; done`)
	two.PullPlug()
	two.Start(0)
	if noted := two.Shell("find /var/tmp -name 'noted.*'"); noted != "" {
		t.Errorf("processes of web02 saw others end as its power went:\n%s", noted)
	}
	if err := get(two); err != nil {
		t.Errorf("web02 after its power was away: %v", err)
	}
	if got := two.Shell("stat -fc %T /sys/fs/cgroup"); strings.TrimSpace(got) != "cgroup2fs" {
		t.Errorf("control groups are %s", got)
	}
}
