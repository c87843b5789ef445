<?php
// Answers every request with the contents of VERSION.
header('Content-Type: text/plain');
echo file_get_contents(__DIR__ . '/../VERSION');
