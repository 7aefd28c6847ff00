package capture

// Wrapped is what Find makes of a unit's main process.
var Wrapped = wrapped
