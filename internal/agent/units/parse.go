package units

import (
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

const suffix = ".service"

// template tells whether a unit is one of which only instances run.
func template(name string) bool { return strings.HasSuffix(name, "@"+suffix) }

// argument tells whether a name may be given to systemctl as a unit.
func argument(name string) bool {
	return strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, "-") && !strings.ContainsAny(name, "/*?[\x00") && len(name) < 256
}

// parseLoaded reads `systemctl list-units`: unit, load, active, sub,
// description. A mark may stand before a unit that has failed. Those that run
// are of interest, and instances of templates.
func parseLoaded(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		for len(fields) > 0 && !strings.HasSuffix(fields[0], suffix) && len([]rune(fields[0])) == 1 {
			fields = fields[1:] // ● ○ × *
		}
		if len(fields) < 4 || !argument(fields[0]) || template(fields[0]) || fields[1] != "loaded" {
			continue
		}
		// Of an instance no unit file tells whether it starts with the host.
		if (Unit{Active: fields[2]}).Runs() || strings.Contains(fields[0], "@") {
			out = append(out, fields[0])
		}
	}
	return out
}

// parseFiles reads `systemctl list-unit-files`: unit file, state and, since
// systemd 244, preset. Only those that start with the host are of interest.
func parseFiles(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && argument(fields[0]) && !template(fields[0]) && (Unit{File: fields[1]}).Starts() {
			out = append(out, fields[0])
		}
	}
	return out
}

// properties are what parseShow reads.
var properties = []string{
	"Id", "Description", "LoadState", "ActiveState", "UnitFileState", "FragmentPath", "SourcePath",
	"User", "DynamicUser", "MainPID", "Type", "ControlGroup", "Transient",
}

// parseShow reads `systemctl show`: KEY=VALUE lines, in any order, with an empty
// line after each unit. Units that are not loaded are left out.
func parseShow(text string) []Unit {
	var out []Unit
	values := map[string]string{}
	end := func() {
		if name := values["Id"]; values["LoadState"] == "loaded" && argument(name) && !template(name) {
			out = append(out, unit(values))
		}
		values = map[string]string{}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			end()
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			values[key] = value
		}
	}
	end()
	return out
}

func unit(values map[string]string) Unit {
	u := Unit{
		Name: values["Id"], Description: values["Description"], Active: values["ActiveState"], File: values["UnitFileState"],
		Type: values["Type"], User: values["User"], Path: values["FragmentPath"], Cgroup: values["ControlGroup"],
		transient: values["Transient"] == "yes",
	}
	if values["SourcePath"] != "" { // generated: of an init script
		u.Path = values["SourcePath"]
	}
	if values["DynamicUser"] == "yes" {
		u.User = "" // nobody outside of the unit can become that user
	}
	if u.Description == u.Name {
		u.Description = "" // systemd's stand-in for none
	}
	if pid, err := strconv.Atoi(values["MainPID"]); err == nil && pid > 0 {
		u.MainPID = pid
	}
	return u
}

// parseDpkg reads `dpkg-query -S`: "package: path", or "one, other:arch: path".
// Of several owners the first is given.
func parseDpkg(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		owners, path, ok := strings.Cut(strings.TrimSpace(line), ": /")
		if !ok || strings.HasPrefix(owners, "diversion by ") || strings.HasPrefix(owners, "local diversion") {
			continue
		}
		owner, _, _ := strings.Cut(owners, ",")
		owner, _, _ = strings.Cut(owner, ":")
		if _, known := out["/"+path]; !known && restart.CheckPackage(owner) == nil {
			out["/"+path] = owner
		}
	}
	return out
}

// parseCgroups reads /proc/PID/cgroup (cgroups(7)): "number:controllers:path".
func parseCgroups(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (parts[1] == "" || parts[1] == "name=systemd") {
			out = append(out, parts[2])
		}
	}
	return out
}
