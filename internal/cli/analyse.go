package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/restart"
)

// analyseFlags are what analyse takes.
type analyseFlags struct {
	compare    bool
	hosts      bool
	threads    bool
	thread     string
	collapsed  bool
	speedscope bool
	own        []string
}

func analyseCommand() *cobra.Command {
	f := &analyseFlags{}
	cmd := &cobra.Command{
		Use:   "analyse FILE…",
		Short: "Say what is wrong in thread dumps from anywhere; asks no server",
		Long: `Read thread dumps and say what is wrong. It asks no server, and sends nothing
anywhere. FILE is what jstack, jcmd, a JVM's log, a Go panic or its
/debug/pprof/goroutine, Python's faulthandler, py-spy or restartilka has written,
with other lines around it or not; - is the standard input.

Several dumps of one process, in one file or in several, are a series: threads
that do not move, and those that compute, are then told too. Files that name
different hosts are looked at as a group, and so are all with --hosts.`,
		Example: `  restartilka analyse jstack.txt
  jcmd 4711 Thread.print -l | restartilka analyse -
  restartilka analyse --compare before.txt after.txt
  restartilka analyse --thread http-nio-8080-exec-7 jstack.txt
  restartilka analyse --speedscope jstack.txt > jstack.speedscope.json`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.compare, "compare", false, "say what changed from the first file to the second")
	flags.BoolVar(&f.hosts, "hosts", false, "each file is of another host of one group")
	flags.BoolVar(&f.threads, "threads", false, "list all threads, with what each does")
	flags.StringVar(&f.thread, "thread", "", "show the stacks of the threads with this number, or with this in their `name`")
	flags.BoolVar(&f.collapsed, "collapsed", false, "print merged stacks, one a line, for flame graphs")
	flags.BoolVar(&f.speedscope, "speedscope", false, "print the merged stacks for speedscope")
	flags.StringSliceVar(&f.own, "own", nil, "`prefix` of the service's own packages, such as com.example.; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("compare", "hosts", "threads", "thread", "collapsed", "speedscope")
	return cmd
}

func someFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("FILE is missing: %s; - reads the standard input", cmd.UseLine())
	}
	return nil
}

// dumpFile is one file with its dumps.
type dumpFile struct {
	name  string
	dumps []*dump.Dump
}

func (f *analyseFlags) run(cmd *cobra.Command, args []string) error {
	if f.compare && len(args) != 2 {
		return usage(fmt.Errorf("--compare wants two files, before and after; here are %d", len(args)))
	}
	files, err := readDumpFiles(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	var all []*dump.Dump
	for _, file := range files {
		all = append(all, file.dumps...)
	}
	slices.SortStableFunc(all, byTaken)
	o := analyse.Options{Own: f.own}
	switch {
	case f.compare:
		return compareFiles(cmd, files[0], files[1], o)
	case f.collapsed:
		to, done := harmless(cmd.OutOrStdout())
		defer done()
		return analyse.Collapsed(to, analyse.FlameOf(all, analyse.FlameOptions{Options: o}))
	case f.speedscope:
		to, done := harmless(cmd.OutOrStdout())
		defer done()
		return analyse.Speedscope(to, analyse.FlameOf(all, analyse.FlameOptions{Options: o}), filepath.Base(files[0].name))
	case f.hosts || !f.threads && f.thread == "" && severalHosts(files):
		return groupFiles(cmd, files, o)
	}
	if err := analyse.CheckSeries(all); err != nil {
		return err
	}
	if f.threads || f.thread != "" {
		return f.list(cmd, analyse.Picture(all), o)
	}
	r := analyse.Series(all, o)
	return data(cmd, r, func(w io.Writer) { writeReport(w, r) })
}

func byTaken(a, b *dump.Dump) int { return a.Taken.Compare(b.Taken) }

func compareFiles(cmd *cobra.Command, first, second dumpFile, o analyse.Options) error {
	before, after := first.picture(), second.picture()
	if err := analyse.CheckPair(before, after); err != nil {
		return err
	}
	d := analyse.Compare(before, after, o)
	return data(cmd, d, func(w io.Writer) { writeDifference(w, d) })
}

func (f dumpFile) picture() *dump.Dump {
	slices.SortStableFunc(f.dumps, byTaken)
	return analyse.Picture(f.dumps)
}

func groupFiles(cmd *cobra.Command, files []dumpFile, o analyse.Options) error {
	hosts := groupOf(files)
	for _, h := range hosts {
		if err := analyse.CheckSeries(h.Dumps); err != nil {
			return naming(h.Name, err)
		}
	}
	g := analyse.Group(hosts, o)
	return data(cmd, g, func(w io.Writer) { writeGroup(w, g) })
}

// hostOf names where a dump was taken, as it says itself; "" = it does not.
func hostOf(d *dump.Dump) string {
	if d.Header == nil {
		return ""
	}
	return d.Header.Host
}

// severalHosts tells whether the dumps say themselves that they are of several hosts.
func severalHosts(files []dumpFile) bool {
	seen := map[string]bool{}
	for _, f := range files {
		for _, d := range f.dumps {
			if name := hostOf(d); name != "" {
				seen[name] = true
			}
		}
	}
	return len(seen) > 1
}

// groupOf puts the dumps of each host together, in the order in which they were
// taken. One that names no host is of the first that its file names, else of a
// host that is called as the file.
func groupOf(files []dumpFile) (hosts []analyse.Host) {
	short := func(f dumpFile) string { return strings.TrimSuffix(filepath.Base(f.name), filepath.Ext(f.name)) }
	called := map[string]int{}
	for _, f := range files {
		called[short(f)]++
	}
	at := map[string]int{}
	for _, f := range files {
		unnamed := short(f)
		if called[unnamed] > 1 { // web1/jstack.txt, web2/jstack.txt
			unnamed = f.name
		}
		if named := slices.IndexFunc(f.dumps, func(d *dump.Dump) bool { return hostOf(d) != "" }); named >= 0 {
			unnamed = hostOf(f.dumps[named])
		}
		for _, d := range f.dumps {
			name := cmp.Or(hostOf(d), unnamed)
			i, there := at[name]
			if !there {
				i = len(hosts)
				at[name], hosts = i, append(hosts, analyse.Host{Name: name})
			}
			hosts[i].Dumps = append(hosts[i].Dumps, d)
		}
	}
	for _, h := range hosts {
		slices.SortStableFunc(h.Dumps, byTaken)
	}
	return hosts
}

func readDumpFiles(stdin io.Reader, names []string) (files []dumpFile, err error) {
	for _, name := range names {
		dumps, err := readDumpFile(stdin, name)
		if err != nil {
			return nil, naming(name, err)
		}
		files = append(files, dumpFile{name, dumps})
	}
	return files, nil
}

// naming says in front of an error which file it is about, and keeps its code and hint.
func naming(name string, err error) error {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		return err // it names the file
	}
	out := restart.Errorf(e.Code, "%s: %s", restart.Escape(name), e.Message)
	if e.Hint != "" {
		out = out.WithHint("%s", e.Hint)
	}
	return out
}

// zstdMagic is how a packed file begins (RFC 8878, 3.1.1).
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

func readDumpFile(stdin io.Reader, name string) ([]*dump.Dump, error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	b := bufio.NewReader(from)
	if head, _ := b.Peek(len(zstdMagic)); bytes.Equal(head, zstdMagic) { // a file that can't be read says so below
		r, err := pack.Unpack(b, parse.DefaultLimit)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return parse.Read(r, parse.Options{})
	}
	return parse.Read(b, parse.Options{})
}

// list shows single threads of a dump.
func (f *analyseFlags) list(cmd *cobra.Command, d *dump.Dump, o analyse.Options) error {
	lens := analyse.NewLens(o)
	var found []dump.Thread
	for _, t := range d.Threads {
		if f.thread == "" || t.ID == f.thread || strings.Contains(strings.ToLower(t.Name), strings.ToLower(f.thread)) {
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		return restart.Errorf(restart.CodeNotFound, "no thread of the %d has %s as its number or in its name", len(d.Threads), restart.Quote(f.thread)).
			WithHint("restartilka analyse --threads FILE lists them")
	}
	return data(cmd, found, func(w io.Writer) {
		if f.thread != "" {
			for i := range found {
				writeThread(w, &found[i], lens)
			}
			return
		}
		rows := make([][]string, len(found))
		for i := range found {
			t := &found[i]
			rows[i] = []string{t.ID, t.Name, string(t.State), lens.Thread(t).Does.String()}
		}
		table(w, []string{"ID", "NAME", "STATE", "DOES"}, rows)
	})
}
