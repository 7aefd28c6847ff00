package audit

import "testing"

// What is believed of a sink by its name, in another server's cursors, is what
// such a sink promises.
func TestKindsHaveTheLevelOfTheirSinks(t *testing.T) {
	sinks := map[string]Sink{"file": &File{}, "syslog": &Syslog{}, "relp": &Relp{}, "http": &HTTP{}}
	for name, k := range kinds {
		s, ok := sinks[name]
		if !ok || s.Level() != k.level {
			t.Errorf("a sink of kind %s has another level than %s, or is not looked at here", name, k.level)
		}
		if levelOf(name+":x") != k.level || levelOf(name+"x") != "" || levelOf(name) != "" {
			t.Errorf("%s by its name: %q", name, levelOf(name+":x"))
		}
	}
	if Level("").AtLeast(LevelSpool) || LevelSpool.AtLeast("") || !LevelStored.AtLeast(LevelSpool) || LevelSpool.AtLeast(LevelSent) {
		t.Error("levels are compared wrongly")
	}
}
