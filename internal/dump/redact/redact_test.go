package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestBuiltIn(t *testing.T) {
	for text, want := range map[string]string{
		"java -Ddb.password=hunter2 -jar x.jar":                                            "java -Ddb.password=*** -jar x.jar",
		"-Djavax.net.ssl.keyStorePassword='a b c' next":                                    "-Djavax.net.ssl.keyStorePassword='***' next",
		"PASSWORD=x token=y&user=z api_key=1,apikey=2;secret=3":                            "PASSWORD=*** token=***&user=z api_key=***,apikey=***;secret=***",
		"--aws-secret-access-key=AKIA user":                                                "--aws-secret-access-key=*** user",
		"Authorization: Bearer eyJhbGciOi.x.y rest":                                        "Authorization: Bearer *** rest",
		"authorization: Basic dXNlcjpwYXNz":                                                "authorization: Basic ***",
		"curl -H 'X: y' https://bob:hunter2@db.example.com/x?y=1":                          "curl -H 'X: y' https://bob:***@db.example.com/x?y=1",
		"redis://:hunter2@cache:6379 jdbc:postgresql://u:p@h/d":                            "redis://:***@cache:6379 jdbc:postgresql://u:***@h/d",
		"main.call({password: hunter2})":                                                   "main.call({password: ***})",
		"got bearer abcdefghijkl from":                                                     "got bearer *** from",
		"http-nio-8080-exec-1 waits":                                                       "http-nio-8080-exec-1 waits",
		"\tat com.example.TokenService.token(TokenService.java:12)":                        "\tat com.example.TokenService.token(TokenService.java:12)",
		"\tat a.Password.get(java.base@17.0.9/Password.java:5)":                            "\tat a.Password.get(java.base@17.0.9/Password.java:5)",
		"  File \"/srv/token.py\", line 5 in password":                                     "  File \"/srv/token.py\", line 5 in password",
		"\t/src/secret/token.go:12 +0x1d":                                                  "\t/src/secret/token.go:12 +0x1d",
		"https://example.com:8443/a@b":                                                     "https://example.com:8443/a@b",
		"  [<0>] futex_wait+0x3a1/0x4c0":                                                   "  [<0>] futex_wait+0x3a1/0x4c0",
		"\t- waiting to lock <0x00000000e0001> (a a.b.Token)":                              "\t- waiting to lock <0x00000000e0001> (a a.b.Token)",
		"monkey=banana author=bob compass=north secretary=ann":                             "monkey=banana author=bob compass=north secretary=ann",
		`"job password=hunter2" #12 prio=5 os_prio=0 cpu=1.00ms tid=0x7f nid=0x1 runnable`: `"job password=***" #12 prio=5 os_prio=0 cpu=1.00ms tid=0x7f nid=0x1 runnable`,
		`thread 12 "token=abc" S (sleeping)`:                                               `thread 12 "token=***" S (sleeping)`,
		`Thread 12 (idle): "secret=abc"`:                                                   `Thread 12 (idle): "secret=***"`,
		`Thread 0x00007f [token=a] (most recent call first):`:                              `Thread 0x00007f [token=***] (most recent call first):`,
		`          "name": "password=\"x\\y\" and more",`:                                  `          "name": "password=\"***\" and more",`,
		`{"level":"info","msg":"login token=abc","password":"x\"y","n":1}`:                 `{"level":"info","msg":"login token=***","password":"***","n":1}`,
		// What only begins like a line of a runtime, or of JSON, is the program's.
		"{user=app, password=hunter2}":                     "{user=app, password=***}",
		"} password=hunter2":                               "} password=***",
		"] token=abc":                                      "] token=***",
		`{"user" password=hunter2}`:                        `{"user" password=***}`,
		"Thread pool up, token=abc":                        "Thread pool up, token=***",
		"Thread 12 has token=abc":                          "Thread 12 has token=***",
		"thread 12 token=abc":                              "thread 12 token=***",
		"goroutine pool: token=abc":                        "goroutine pool: token=***",
		"goroutine 12 token=abc":                           "goroutine 12 token=***",
		`"shop" says password=hunter2`:                     `"shop" says password=***`,
		"password:hunter2":                                 "password:***",
		"auth::login (x.so)":                               "auth::login (x.so)",
		`{"password":12345,"n":1}`:                         `{"password":"***","n":1}`,
		`"token": 12345,`:                                  `"token": "***",`,
		`{"password": null}`:                               `{"password": null}`,
		"goroutine 12 gp=0x1 m=0 mp=0x2 [select, token=a]": "goroutine 12 gp=0x1 m=0 mp=0x2 [select, token=a]",
		"Thread 4720: (state = BLOCKED)":                   "Thread 4720: (state = BLOCKED)",
		"Thread 0x00007f (most recent call first):":        "Thread 0x00007f (most recent call first):",
		`{"tid": "12", "name": "token=abc"}`:               `{"tid": "12", "name": "token=***"}`,
	} {
		if got := string(redact.Defaults().Text([]byte(text))); got != want {
			t.Errorf("%q becomes\n%q, want\n%q", text, got, want)
		}
		if got := string(redact.Defaults().Text([]byte(want))); got != want {
			t.Errorf("twice, %q becomes %q", want, got)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"app", "--password", "hunter2", "--port", "80"}, "app --password *** --port 80"},
		{[]string{"app", "-token", "-v"}, "app -token -v"},
		{[]string{"app", "--db.password=a b", "x"}, "app --db.password=*** x"},
		{[]string{"mysql", "--user=x", "mysql://x:y@z/"}, "mysql --user=x mysql://x:***@z/"},
		{nil, ""},
	} {
		if got := redact.Defaults().Arguments(c.arguments); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.arguments, got, c.want)
		}
	}
}

func TestRules(t *testing.T) {
	r, err := redact.New([]string{`customer-(\d+)`, `\b\d{4}-\d{4}\b`})
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{ // the same of rules that are given
		"{user=app, customer-4711}": "{user=app, customer-***}", "Thread pool of customer-4711": "Thread pool of customer-***", "goroutine of customer-12": "goroutine of customer-***",
		"{1234-5678}": "{***}", `"shop" 1234-5678`: `"shop" ***`, "goroutine 12 [select]:": "goroutine 12 [select]:", `{"tid": 12, "name": "customer-12"}`: `{"tid": 12, "name": "customer-***"}`,
	} {
		if got := string(r.Text([]byte(line))); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
	in := "\"pay customer-4711 by 1234-5678\" #12 daemon prio=5 tid=0x1\n\tat x.Y.z(Y.java:1)\ncustomer-12 password=x\n"
	want := "\"pay customer-*** by ***\" #12 daemon prio=5 tid=0x1\n\tat x.Y.z(Y.java:1)\ncustomer-*** password=***\n"
	if got := string(r.Text([]byte(in))); got != want {
		t.Errorf("%q", got)
	}
	for name, patterns := range map[string][]string{
		"no expression": {"("}, "empty": {""}, "everywhere": {"x*"}, "long": {strings.Repeat("x", redact.MaxLength+1)}, "many": make([]string, redact.MaxRules+1),
	} {
		if _, err := redact.New(patterns); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sample is a dump of every form, with thread names of whatever text.
func sample(names []string) string {
	h := dump.Header{PID: 12, Command: "java -Dpassword=x " + names[0], Notes: []string{names[0]}}
	line, _ := h.Line()
	var b strings.Builder
	b.Write(line)
	b.WriteString("2026-11-23 04:09:47\nFull thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode):\n\n")
	for _, n := range names {
		b.WriteString(`"` + n + `" #12 daemon prio=5 os_prio=0 cpu=1.25ms elapsed=0.21s tid=0x00007fb4a802a900 nid=29407 waiting on condition  [0x00007fb4ad3fe000]` + "\n")
		b.WriteString("   java.lang.Thread.State: RUNNABLE\n\tat java.io.FileInputStream.readBytes(java.base@25.0.3/Native Method)\n\n")
	}
	b.WriteString("{\n  \"threadDump\": {\n    \"threads\": [\n")
	for i, n := range names {
		text, _ := json.Marshal(n)
		end := ","
		if i == len(names)-1 {
			end = ""
		}
		b.WriteString("      {\n        \"tid\": \"12\",\n        \"name\": " + string(text) + ",\n        \"stack\": [\n          \"a.b\\/c(X.java:1)\"\n        ]\n      }" + end + "\n")
	}
	b.WriteString("    ]\n  }\n}\n")
	for _, n := range names {
		b.WriteString("thread 12 \"" + n + "\" S (sleeping)\nwchan: ep_poll\ncpu: 10 ms\n")
	}
	b.WriteString("goroutine 12 [chan receive, 5 minutes]:\nmain.f(0xc000012345)\n\t/x.go:12 +0x1d\n")
	return b.String()
}

// What parse reads of a dump is the same after the rules that are built in, but
// for the secrets.
func TestParsesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-z0-9 =:#\[\]{}/@.-]{1,30}|password=[a-z]{1,8}|jdbc:x://u:p@h/`), 1, 4).Draw(t, "names")
		text := []byte(sample(names))
		before, err := parse.Bytes(text)
		if err != nil {
			t.Fatal(err)
		}
		after, err := parse.Bytes(redact.Defaults().Text(text))
		if err != nil || len(after) != len(before) {
			t.Fatalf("%d dumps became %d: %v", len(before), len(after), err)
		}
		for i := range before {
			if len(after[i].Threads) != len(before[i].Threads) || after[i].Format != before[i].Format {
				t.Fatalf("%d threads of %s became %d of %s", len(before[i].Threads), before[i].Format, len(after[i].Threads), after[i].Format)
			}
			for k, old := range before[i].Threads {
				fresh := after[i].Threads[k]
				if fresh.ID != old.ID || fresh.State != old.State || fresh.Native != old.Native || len(fresh.Stack) != len(old.Stack) || fresh.Lines != old.Lines {
					t.Fatalf("%+v\nbecame\n%+v", old, fresh)
				}
			}
		}
	})
}

// Whatever is in the names, and whatever the rules are: the frame of the dump
// stays as it was.
func TestStructureStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-z0-9 \\"=:#\[\]{}/@.-]{0,30}|password=[^\n]{0,8}|"[a-z]*":"token=[a-z"\\]*`), 1, 4).Draw(t, "names")
		for i := range names {
			names[i] = strings.Map(func(r rune) rune {
				if r == '\n' || r == '\r' {
					return ' '
				}
				return r
			}, strings.ToValidUTF8(names[i], "?"))
		}
		patterns := rapid.SliceOfN(rapid.SampledFrom([]string{`\d+`, `[a-z]+`, `"`, `\\`, `.+`, `#\d+`, `a.*`, `[{}\[\]]`, `tid`, `(b)c?`}), 0, 3).Draw(t, "rules")
		rules, err := redact.New(patterns)
		if err != nil {
			t.Fatal(err)
		}
		before := sample(names)
		after := string(rules.Text([]byte(before)))
		old, fresh := strings.Split(before, "\n"), strings.Split(after, "\n")
		if len(old) != len(fresh) {
			t.Fatalf("%d lines became %d", len(old), len(fresh))
		}
		for i, line := range old {
			switch {
			case strings.HasPrefix(line, "#restartilka-dump"):
				if h, ok, err := dump.ReadHeader([]byte(fresh[i])); !ok || err != nil || h.PID != 12 {
					t.Fatalf("%q: %v", fresh[i], err)
				}
			case strings.HasPrefix(line, `"`), strings.HasPrefix(line, "thread "):
				at := strings.LastIndex(line, `"`)
				if !strings.HasSuffix(fresh[i], line[at:]) || fresh[i][:strings.IndexByte(line, '"')+1] != line[:strings.IndexByte(line, '"')+1] {
					t.Fatalf("%q became %q", line, fresh[i])
				}
			case strings.HasPrefix(line, "goroutine "):
				if !strings.HasPrefix(fresh[i], line[:strings.IndexByte(line, ']')+1]) {
					t.Fatalf("%q became %q", line, fresh[i])
				}
			}
		}
		text := after[strings.Index(after, "\n{\n")+1 : strings.Index(after, "\n}\n")+2]
		var shape struct {
			ThreadDump struct {
				Threads []struct{ TID, Name *string }
			}
		}
		if err := json.Unmarshal([]byte(text), &shape); err != nil || len(shape.ThreadDump.Threads) != len(names) || *shape.ThreadDump.Threads[0].TID != "12" {
			t.Fatalf("%v: %s", err, text)
		}
		var copied bytes.Buffer
		if err := rules.Copy(&copied, strings.NewReader(before)); err != nil || copied.String() != after {
			t.Fatalf("streamed, it is another text: %v", err)
		}
	})
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestCopy(t *testing.T) {
	long := strings.Repeat("x", 3<<20) + " password=hunter2\nnext\n"
	var out bytes.Buffer
	if err := redact.Defaults().Copy(&out, strings.NewReader(long)); err != nil || strings.Contains(out.String(), "hunter2") || !strings.HasSuffix(out.String(), "=***\nnext\n") {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	if err := redact.Defaults().Copy(brokenWriter{}, strings.NewReader("x")); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("\"a password=b\" #12 daemon\n{\"name\": \"token=a\"}\n"), "b+")
	f.Fuzz(func(t *testing.T, text []byte, pattern string) {
		rules, err := redact.New([]string{pattern})
		if err != nil {
			return
		}
		before := bytes.Clone(text)
		after := rules.Text(text)
		if !bytes.Equal(text, before) {
			t.Error("it changed the text that it was given")
		}
		if bytes.Count(after, []byte("\n")) != bytes.Count(before, []byte("\n")) {
			t.Error("a line was lost or made")
		}
	})
}

func BenchmarkText(b *testing.B) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = "http-nio-8080-exec-12"
	}
	text := []byte(sample(names))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		redact.Defaults().Text(text)
	}
}
