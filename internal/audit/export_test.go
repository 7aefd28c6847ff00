package audit

// SyslogMessage is what a Syslog of that facility makes of r.
func SyslogMessage(facility string, r Record) []byte {
	h, err := newHeader(facility)
	if err != nil {
		return nil
	}
	return h.appendMessage(nil, &r)
}

// Connected tells whether s has a connection.
func (s *Syslog) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}
