// Package renewal renews the certificates of agents by itself, at two thirds of
// their life. The server calls, as for everything else, so that no host needs a
// way back to it:
//
//	server                               agent
//	POST /v1/certificate/request   ──►   makes a key beside the present one
//	                               ◄──   a request for its own name
//	signs it, stores it as pending
//	PUT /v1/certificate            ──►   judges it, exchanges the pair
//	confirmed                      ◄──   serial of what it shows from now on
//
// Where the last answer is lost, the next try sees at the handshake what the
// agent shows: a pending certificate that is in use is confirmed, one that is
// not is revoked once another is. Certificates of a company's own
// PKI, known by having no identity of ours in them, are left alone.
//
// Of several servers one renews a host: its row is claimed for a while by a
// conditional update. A failure is stored with its reason and tried again,
// later and later; the present certificate is good for the remaining third.
package renewal
