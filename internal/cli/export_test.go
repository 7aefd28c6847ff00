package cli

// FollowAudit is what "audit tail -f" does.
var FollowAudit = followAudit
